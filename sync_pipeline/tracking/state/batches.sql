-- insert_batch: open a batch record; returns no row if its key already exists
INSERT INTO daily_sync_status
    (sync_date, status, remarks, start_time, dataset, kind, batch_key, start_date, end_date,
     total_days, run_id, triggered_by, already_synced, heartbeat_at)
VALUES
    (%(sync_date)s, 'syncing', %(remarks)s, clock_timestamp() - make_interval(secs => %(ago)s),
     %(dataset)s, 'batch',
     %(batch_key)s, %(start_date)s, %(end_date)s, %(total_days)s, %(run_id)s, %(triggered_by)s,
     %(already_synced)s, clock_timestamp())
ON CONFLICT (batch_key, dataset) DO NOTHING
RETURNING id, batch_key, dataset, status, start_date, end_date, total_days

-- insert_pending_days: plan days of the batch
INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, run_id, triggered_by)
SELECT %(dataset)s, day, %(batch_id)s, 'pending', %(run_id)s, %(triggered_by)s
FROM unnest(%(days)s::date[]) AS day
ON CONFLICT (batch_id, sync_date) WHERE NOT superseded DO NOTHING

-- set_run: set the run of a batch that was opened without one
UPDATE daily_sync_status SET run_id = %(run_id)s WHERE id = %(id)s AND run_id IS NULL

-- supersede_failed_before: supersede failures from before the batch was requested again
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = ANY(%(days)s::date[])
  AND NOT superseded AND state = 'failed' AND ended_at < %(before)s
  AND NOT coalesce(run_id = ANY(%(except_runs)s::text[]), false)
RETURNING sync_date

-- retry_batch: record that failed days of the batch are being retried
UPDATE daily_sync_status SET retried_at = clock_timestamp(), cancelled_by = NULL
WHERE id = %(batch_id)s

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

-- lock: lock the record until the transaction ends
SELECT FROM daily_sync_status WHERE id = %(id)s AND kind = 'batch' FOR NO KEY UPDATE

-- count: number of days by state; each day counts once, by its current attempt
SELECT record.start_time, coalesce(record.end_time, max(sync_attempt.ended_at)),
       coalesce(min(sync_attempt.sync_date), record.start_date),
       coalesce(max(sync_attempt.sync_date), record.end_date),
       count(sync_attempt.id),
       count(*) FILTER (WHERE state = 'success'),
       count(*) FILTER (WHERE state = 'failed'),
       count(*) FILTER (WHERE state = 'skipped'),
       coalesce(sum(rows_read) FILTER (WHERE state = 'success'), 0)::bigint
FROM daily_sync_status record
LEFT JOIN sync_attempt ON sync_attempt.batch_id = record.id AND NOT superseded
WHERE record.id = %(id)s AND record.kind = 'batch'
GROUP BY record.id

-- failed_days: failed days, the first error, days that were not run, and why they were not
-- The dataset prefix is removed from errors, because the record already names the dataset.
SELECT array_agg(sync_date ORDER BY sync_date),
       (array_agg(sync_date || ': ' || error ORDER BY sync_date))[1],
       array_agg(sync_date ORDER BY sync_date) FILTER (WHERE error LIKE %(not_run)s || '%%'),
       (array_agg(error ORDER BY sync_date) FILTER (WHERE error LIKE %(not_run)s || '%%'))[1]
FROM (SELECT sync_date, replace(error_message, 'dataset ' || dataset || ': ', '') AS error
      FROM sync_attempt WHERE batch_id = %(id)s AND NOT superseded AND state = 'failed') AS failed

-- project: update the record with the values computed from its days
UPDATE daily_sync_status SET
    status = %(status)s,
    total_records = %(rows)s,
    success_count = %(success)s,
    failed_count = %(failed)s,
    skipped_count = %(skipped)s,
    total_days = %(total)s,
    sync_date = %(sync_date)s,
    start_date = %(start_date)s,
    end_date = %(end_date)s,
    remarks = %(remarks)s,
    error_message = %(error_message)s,
    end_time = %(end_time)s,
    duration_seconds = %(duration_seconds)s,
    heartbeat_at = CASE WHEN %(status)s = 'syncing' THEN clock_timestamp() ELSE heartbeat_at END
WHERE id = %(id)s
  -- Do not rewrite an unchanged record.
  AND (status, total_records, success_count, failed_count, skipped_count, total_days,
       start_date, end_date, remarks, error_message, end_time, duration_seconds)
      IS DISTINCT FROM
      (%(status)s, %(rows)s, %(success)s, %(failed)s, %(skipped)s, %(total)s,
       %(start_date)s::date, %(end_date)s::date, %(remarks)s, %(error_message)s,
       %(end_time)s::timestamptz, %(duration_seconds)s::integer)

-- clock: the current time, not the start of the transaction
SELECT clock_timestamp()

-- day_states: the state of each day of the batch with this key
-- If a day's record is failed although its latest attempt succeeded, its rows have been lost.
SELECT sync_date, CASE WHEN state IN ('success', 'skipped') AND EXISTS (
    SELECT FROM daily_sync_status record
    JOIN sync_attempt latest USING (dataset, sync_date, attempt)
    WHERE record.kind = 'day' AND record.status = 'failed' AND latest.state = 'success'
      AND record.dataset = of_batch.dataset AND record.sync_date = of_batch.sync_date
) THEN 'failed' ELSE state END
FROM sync_attempt of_batch
WHERE batch_id = (SELECT id FROM daily_sync_status
                  WHERE batch_key = %(batch_key)s AND dataset = %(dataset)s)
  AND NOT superseded
