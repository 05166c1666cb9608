-- open_batch: open a batch record with its days pending, or find the existing one
SELECT sync_open_batch(%(batch_key)s, %(dataset)s, %(days)s::date[], %(run_id)s, %(triggered_by)s,
                       %(already_synced)s, %(ago)s)

-- retry_days: reset failed days to pending
SELECT sync_retry_days(%(batch_id)s, %(run_id)s, %(triggered_by)s, %(days)s::date[], %(before)s,
                       %(except_runs)s::text[])

-- mark_not_run: close unfinished days of the batch as failed
SELECT sync_mark_not_run(%(batch_id)s, %(error)s, %(days)s::date[], %(run_id)s, %(planned_by)s,
                         %(planned_before)s, %(ago)s)

-- project: compute the record from the batch's days
SELECT sync_project_batch(%(batch_id)s)

-- all_with_key: the batch records with this key, one per dataset
SELECT id, batch_key, dataset, status, start_date, end_date, total_days
FROM daily_sync_status WHERE batch_key = %(batch_key)s ORDER BY id

-- find_by_key: the batch record of a dataset with this key
SELECT id, batch_key, dataset, status, start_date, end_date, total_days
FROM daily_sync_status WHERE batch_key = %(batch_key)s AND dataset = %(dataset)s

-- silent_batches: managed batches that are syncing and have not been updated for a while
SELECT id, batch_key, dataset, status, start_date, end_date, total_days
FROM daily_sync_status
WHERE status = 'syncing' AND kind = 'batch' AND batch_key IS NOT NULL
  AND updated_at < clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY id

-- open_batches: managed batches that are still syncing, oldest first
SELECT id, batch_key, dataset, status, start_date, end_date, total_days
FROM daily_sync_status
WHERE status = 'syncing' AND kind = 'batch' AND batch_key IS NOT NULL
ORDER BY id

-- day_states: the state of each day of the batch with this key
-- If a synced day's record is failed and has no rows, they have been lost with the table.
SELECT sync_date, CASE WHEN state IN ('success', 'skipped') AND EXISTS (
    SELECT FROM daily_sync_status record
    WHERE record.kind = 'day' AND record.status = 'failed' AND record.standing_since IS NULL
      AND record.dataset = of_batch.dataset AND record.sync_date = of_batch.sync_date
) THEN 'failed' ELSE state END
FROM sync_attempt of_batch
WHERE batch_id = (SELECT id FROM daily_sync_status
                  WHERE batch_key = %(batch_key)s AND dataset = %(dataset)s)
  AND NOT superseded
