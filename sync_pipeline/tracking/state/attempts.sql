-- begin: start an attempt for a day
SELECT attempt_id, number, record_id FROM sync_begin_day(
    %(dataset)s, %(day)s, %(batch_id)s, %(run_id)s, %(triggered_by)s, %(resync)s,
    %(after)s, %(after_error)s, %(host_id)s, %(pid)s)

-- record_outcome: record how a day ended
SELECT sync_record_outcome(
    %(dataset)s, %(day)s, %(state)s, %(batch_id)s, %(run_id)s, %(triggered_by)s, %(attempt_id)s,
    %(number)s, %(seconds)s, %(rows_read)s, %(rows_loaded)s, %(rows_rejected)s, %(bytes)s,
    %(error)s, %(ended_ago)s, %(fence)s, %(project)s, %(refused)s,
    %(warning)s)

-- skip: mark synced days of a batch as skipped
SELECT sync_skip_days(%(batch_id)s, %(days)s::date[], %(run_id)s)

-- fail_run: close the running attempts of a run as failed
SELECT sync_fail_run(%(run_id)s, %(error)s)

-- explain_interrupted: say in the errors of a run's interrupted days who interrupted them
SELECT sync_explain_interrupted(%(run_id)s, %(error)s, %(reason)s)

-- record_replay: record that the day's quarantined rows were loaded, except `kept` of them
SELECT sync_record_replay(%(record_id)s, %(number)s, %(kept)s)

-- state: the state of an attempt; no row if a crash lost it
SELECT state FROM sync_attempt
WHERE id = %(id)s AND attempt = %(number)s AND dataset = %(dataset)s AND sync_date = %(day)s

-- loaded_days: those of these days whose rows are in the target, with the attempt that loaded them
-- The attempt may have been deleted with the record of its batch.
SELECT record.sync_date, record.id, coalesce(loaded.attempt, record.attempt), record.standing_rows
FROM daily_sync_status record
LEFT JOIN LATERAL (
    SELECT attempt FROM sync_attempt
    WHERE dataset = record.dataset AND sync_date = record.sync_date AND state = 'success'
    ORDER BY ended_at DESC LIMIT 1
) AS loaded ON true
WHERE record.dataset = %(dataset)s AND record.kind = 'day' AND record.standing_since IS NOT NULL
  AND record.sync_date = ANY(%(days)s::date[])

-- synced_days: those of these days that are synced, with their records
SELECT sync_date, id, attempt, success_count FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND status = 'success'
  AND sync_date = ANY(%(days)s::date[])

-- unreported: synced days that are not reported to Dagster and whose run has no worker
SELECT a.id, a.dataset, a.sync_date, a.attempt, a.run_id, record.id, a.rows_loaded, a.bytes,
       a.duration_seconds
FROM sync_attempt a
JOIN daily_sync_status record
  ON record.kind = 'day' AND record.dataset = a.dataset AND record.sync_date = a.sync_date
WHERE a.state = 'success' AND a.materialized_at IS NULL AND a.run_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM sync_worker WHERE sync_worker.run_id = a.run_id)
ORDER BY a.id LIMIT %(limit)s

-- mark_reported: record that these attempts have been reported to Dagster
UPDATE sync_attempt SET materialized_at = clock_timestamp() WHERE id = ANY(%(ids)s)

-- runs_without_worker: runs without a worker that have a running attempt of at least this age
SELECT DISTINCT run_id FROM sync_attempt
WHERE state = 'syncing' AND run_id IS NOT NULL
  AND started_at < clock_timestamp() - make_interval(secs => %(seconds)s)
  AND NOT EXISTS (SELECT FROM sync_worker WHERE sync_worker.run_id = sync_attempt.run_id)
