-- lock_late_results: lock, so that two processes do not both find the same day unrecorded
SELECT pg_advisory_xact_lock(hashtextextended('sync_pipeline: late results', 0))

-- lock_record: lock the day's record until the transaction ends
SELECT id, attempt FROM daily_sync_status
WHERE dataset = %(dataset)s AND sync_date = %(day)s AND kind = 'day' FOR NO KEY UPDATE

-- create_record: create the day's record; update_record completes it in the same transaction
INSERT INTO daily_sync_status
    (sync_date, status, remarks, start_time, dataset, kind, start_date, end_date, total_days)
VALUES
    (%(day)s, 'syncing', %(remarks)s, %(started_at)s, %(dataset)s, 'day', %(day)s, %(day)s, 1)
ON CONFLICT (dataset, sync_date) WHERE kind = 'day' DO NOTHING

-- attempts_at_day: running attempts for the day, and this run's attempts that the result may close
SELECT id, attempt, state, of_run FROM (
    SELECT *, coalesce(run_id = %(run_id)s AND batch_id IS NOT DISTINCT FROM %(batch_id)s::bigint
                       AND attempt IS NOT NULL, false) AS of_run
    FROM sync_attempt WHERE dataset = %(dataset)s AND sync_date = %(day)s) AS at_day
WHERE state = 'syncing'
   OR of_run AND (state = 'success' OR attempt = %(number)s::integer OR %(state)s = 'failed')
ORDER BY of_run DESC, attempt DESC

-- supersede_failed: supersede an earlier failure of the day in the batch
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state = 'failed'
  AND id IS DISTINCT FROM %(own)s::bigint
  AND (%(state)s = 'success' OR ended_at <= %(ended_at)s)

-- end_own: close the run's own attempt; it is superseded if the batch has another current one
-- Its end time is not later than the start of the next attempt.
UPDATE sync_attempt own SET
    state = %(state)s, error_message = %(error)s,
    ended_at = greatest(started_at, least(%(ended_at)s, (
        SELECT min(later.started_at) FROM sync_attempt later
        WHERE later.dataset = own.dataset AND later.sync_date = own.sync_date
          AND later.attempt > own.attempt))),
    rows_read = %(rows_read)s, rows_loaded = %(rows_loaded)s, rows_rejected = %(rows_rejected)s,
    bytes = %(bytes)s,
    materialized_at = CASE WHEN %(reported)s THEN clock_timestamp() ELSE materialized_at END,
    superseded = EXISTS (
        SELECT FROM sync_attempt other
        WHERE other.batch_id = own.batch_id AND other.sync_date = own.sync_date
          AND NOT other.superseded AND other.id <> own.id)
WHERE id = %(own)s

-- skip_pending: skip the batch's pending attempt for the day, which is synced now
UPDATE sync_attempt SET state = 'skipped', ended_at = clock_timestamp(), run_id = %(run_id)s
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state = 'pending'
  AND %(state)s = 'success'

-- end_pending: close the batch's pending attempt for the day with the result
UPDATE sync_attempt SET
    state = %(state)s, attempt = %(number)s, started_at = %(started_at)s,
    ended_at = greatest(%(started_at)s, %(ended_at)s), error_message = %(error)s,
    rows_read = %(rows_read)s, rows_loaded = %(rows_loaded)s, rows_rejected = %(rows_rejected)s,
    bytes = %(bytes)s, run_id = %(run_id)s, triggered_by = coalesce(%(triggered_by)s, triggered_by),
    materialized_at = CASE WHEN %(reported)s THEN clock_timestamp() END
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state = 'pending'

-- add_attempt: add an attempt with the result; it is superseded if the batch has another current one
INSERT INTO sync_attempt
    (dataset, sync_date, batch_id, attempt, state, run_id, triggered_by, started_at, ended_at,
     error_message, rows_read, rows_loaded, rows_rejected, bytes, materialized_at, superseded)
SELECT
    %(dataset)s, %(day)s, %(batch_id)s, %(number)s, %(state)s, %(run_id)s, %(triggered_by)s,
    %(started_at)s, greatest(%(started_at)s, %(ended_at)s), %(error)s, %(rows_read)s,
    %(rows_loaded)s, %(rows_rejected)s, %(bytes)s,
    CASE WHEN %(reported)s THEN clock_timestamp() END,
    EXISTS (SELECT FROM sync_attempt
            WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded)

-- update_record: update the day's record, unless a later attempt for the day ended later
-- However, a run's success always replaces its own failure: each end time is calculated when it is
-- written, so the failure's can be slightly later than that of the success.
UPDATE daily_sync_status record SET
    attempt = greatest(attempt, %(number)s),
    status = CASE WHEN is_latest THEN %(state)s ELSE status END,
    total_records = CASE WHEN is_latest THEN %(rows_read)s ELSE total_records END,
    success_count = CASE WHEN is_latest THEN %(rows_loaded)s ELSE success_count END,
    failed_count = CASE WHEN is_latest THEN %(rows_rejected)s ELSE failed_count END,
    remarks = CASE WHEN is_latest THEN %(remarks)s ELSE remarks END,
    error_message = CASE WHEN is_latest THEN %(error)s ELSE error_message END,
    start_time = CASE WHEN is_latest THEN %(started_at)s ELSE start_time END,
    end_time = CASE WHEN is_latest THEN greatest(%(started_at)s, %(ended_at)s) ELSE end_time END,
    duration_seconds = CASE WHEN is_latest THEN NULL ELSE duration_seconds END,
    run_id = CASE WHEN is_latest THEN %(run_id)s ELSE run_id END,
    triggered_by = CASE WHEN is_latest THEN %(triggered_by)s ELSE triggered_by END
FROM (SELECT attempt <= %(number)s AND (attempt = %(number)s OR end_time IS NULL
                                        OR end_time <= %(ended_at)s
                                        OR run_id = %(run_id)s AND %(state)s = 'success')
             AS is_latest
      FROM daily_sync_status WHERE id = %(record_id)s) AS compared
WHERE id = %(record_id)s
