-- begin_day_record: number a new attempt and set the day's record to syncing
INSERT INTO daily_sync_status AS record
    (sync_date, status, remarks, start_time, dataset, kind, start_date, end_date, total_days,
     attempt, run_id, triggered_by, heartbeat_at)
VALUES
    (%(day)s, 'syncing', %(remarks)s, clock_timestamp(), %(dataset)s, 'day', %(day)s, %(day)s, 1,
     1, %(run_id)s, %(triggered_by)s, clock_timestamp())
ON CONFLICT (dataset, sync_date) WHERE kind = 'day' DO UPDATE SET
    status = 'syncing', remarks = excluded.remarks, start_time = excluded.start_time,
    end_time = NULL, duration_seconds = NULL, error_message = NULL,
    total_records = 0, success_count = 0, failed_count = 0,
    attempt = record.attempt + 1, run_id = excluded.run_id,
    triggered_by = excluded.triggered_by, heartbeat_at = excluded.heartbeat_at
-- The day may have been synced since the caller checked it.
WHERE record.status <> 'success' OR %(resync)s AND NOT EXISTS (
    SELECT FROM sync_attempt
    WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded
      AND state IN ('success', 'skipped'))
RETURNING id, attempt

-- end_lost_attempts: close running attempts for a day whose lock the caller holds
-- Either another worker has lost the lock, or the caller is retrying the day after `after_error`.
UPDATE sync_attempt SET
    state = 'failed', ended_at = clock_timestamp(),
    error_message = CASE WHEN id = %(after)s THEN %(after_error)s
        ELSE 'superseded: attempt ' || %(number)s || ' started after this one lost the lock' END
WHERE dataset = %(dataset)s AND sync_date = %(day)s AND state = 'syncing'
RETURNING batch_id

-- begin_planned: start the batch's pending attempt for the day
UPDATE sync_attempt SET
    state = 'syncing', attempt = %(number)s, started_at = clock_timestamp(),
    run_id = %(run_id)s, triggered_by = coalesce(%(triggered_by)s, triggered_by)
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state = 'pending'
RETURNING id

-- cancelled_by: who cancelled the batch, if it was cancelled
SELECT cancelled_by FROM daily_sync_status WHERE id = %(batch_id)s AND cancelled_by IS NOT NULL

-- supersede: mark the batch's earlier attempt for this day as superseded
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded

-- begin_unplanned: add and start an attempt outside any batch, or a further one within a batch
INSERT INTO sync_attempt
    (dataset, sync_date, batch_id, attempt, state, run_id, triggered_by, started_at)
VALUES
    (%(dataset)s, %(day)s, %(batch_id)s, %(number)s, 'syncing', %(run_id)s, %(triggered_by)s,
     clock_timestamp())
RETURNING id

-- succeed: close the attempt and the day's record, unless a later attempt has started
WITH record AS (
    SELECT id FROM daily_sync_status
    WHERE id = %(record_id)s AND attempt = %(number)s FOR UPDATE
), done AS (
    UPDATE sync_attempt SET
        state = 'success',
        ended_at = coalesce(ended_at, greatest(
            started_at, clock_timestamp() - make_interval(secs => %(ago)s))),
        rows_read = %(rows_read)s,
        rows_loaded = %(rows_loaded)s, rows_rejected = %(rows_rejected)s, bytes = %(bytes)s
    FROM record
    WHERE sync_attempt.id = %(id)s AND attempt = %(number)s AND state IN ('syncing', 'success')
    RETURNING ended_at
)
UPDATE daily_sync_status SET
    status = 'success', total_records = %(rows_read)s, success_count = %(rows_loaded)s,
    failed_count = %(rows_rejected)s, remarks = %(remarks)s, error_message = NULL,
    end_time = done.ended_at, heartbeat_at = done.ended_at
FROM done
WHERE daily_sync_status.id = %(record_id)s

-- record_replay: record that the day's quarantined rows were loaded, except `kept` of them
WITH record AS (
    SELECT * FROM daily_sync_status
    WHERE id = %(record_id)s AND attempt = %(number)s AND kind = 'day' AND status = 'success'
    FOR UPDATE
), done AS (
    UPDATE sync_attempt SET
        rows_loaded = rows_read - %(kept)s, rows_rejected = %(kept)s
    FROM record
    WHERE sync_attempt.dataset = record.dataset AND sync_attempt.sync_date = record.sync_date
      AND sync_attempt.attempt = record.attempt AND sync_attempt.state = 'success'
)
UPDATE daily_sync_status SET
    success_count = record.total_records - %(kept)s, failed_count = %(kept)s
FROM record WHERE daily_sync_status.id = record.id
RETURNING record.sync_date, record.total_records

-- replay_remarks: update the remarks to the new counts
UPDATE daily_sync_status SET remarks = %(remarks)s WHERE id = %(id)s

-- fail: close an attempt and its day's record as failed, unless the attempt has ended
WITH record AS (
    SELECT id FROM daily_sync_status
    WHERE id = %(record_id)s AND attempt = %(number)s FOR UPDATE
), done AS (
    UPDATE sync_attempt SET
        state = 'failed', error_message = %(error)s,
        ended_at = greatest(started_at, clock_timestamp() - make_interval(secs => %(ago)s))
    FROM record
    WHERE sync_attempt.id = %(id)s AND attempt = %(number)s AND state = 'syncing'
    RETURNING ended_at
)
UPDATE daily_sync_status SET
    status = 'failed', remarks = %(remarks)s, error_message = %(error)s, end_time = done.ended_at
FROM done
WHERE daily_sync_status.id = %(record_id)s

-- state: the state of an attempt; no row if a crash lost it
SELECT state FROM sync_attempt WHERE id = %(id)s AND attempt = %(number)s

-- is_refused: whether this run has already recorded this failure
SELECT FROM sync_attempt
WHERE dataset = %(dataset)s AND sync_date = %(day)s AND state = 'failed' AND attempt IS NULL
  AND batch_id IS NOT DISTINCT FROM %(batch_id)s::bigint AND run_id = %(run_id)s
  AND error_message = %(error)s

-- refuse_planned: fail a pending day of the batch that could not start
UPDATE sync_attempt SET
    state = 'failed', ended_at = clock_timestamp(), run_id = %(run_id)s, error_message = %(error)s
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state = 'pending'

-- supersede_ended: like supersede, but leaves a running attempt as it is
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state <> 'syncing'

-- refuse_unplanned: add a failed attempt for a day that could not start
-- It is superseded if the batch has a current attempt for the day.
INSERT INTO sync_attempt
    (dataset, sync_date, batch_id, state, run_id, triggered_by, error_message, ended_at, superseded)
SELECT
    %(dataset)s, %(day)s, %(batch_id)s, 'failed', %(run_id)s, %(triggered_by)s, %(error)s,
    clock_timestamp(),
    EXISTS (SELECT FROM sync_attempt
            WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded)

-- skip: mark pending days of a batch as skipped
UPDATE sync_attempt SET state = 'skipped', ended_at = clock_timestamp(), run_id = %(run_id)s
WHERE batch_id = %(batch_id)s AND sync_date = ANY(%(days)s::date[])
  AND NOT superseded AND state = 'pending'

-- supersede_failed: supersede the failures of days that have since been synced elsewhere
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = ANY(%(days)s::date[])
  AND NOT superseded AND state = 'failed'
RETURNING sync_date

-- skip_failed: add a skipped attempt for each of these days
INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, run_id, triggered_by, ended_at)
SELECT record.dataset, day, record.id, 'skipped', %(run_id)s, record.triggered_by, clock_timestamp()
FROM daily_sync_status record, unnest(%(days)s::date[]) AS day
WHERE record.id = %(batch_id)s

-- synced_days: those of these days that are synced, with their records
SELECT sync_date, id, attempt, success_count FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND status = 'success'
  AND sync_date = ANY(%(days)s::date[])

-- is_recorded: whether a run has an attempt for a day in this state
SELECT FROM sync_attempt
WHERE dataset = %(dataset)s AND sync_date = %(day)s AND run_id = %(run_id)s AND state = %(state)s

-- syncing_of_run: running attempts of a run
SELECT id, attempt, dataset, sync_date, batch_id FROM sync_attempt
WHERE run_id = %(run_id)s AND state = 'syncing'

-- unfinished_of_batch: pending and running attempts of a batch, with optional filters
SELECT id, attempt, dataset, sync_date, batch_id FROM sync_attempt
WHERE batch_id = %(batch_id)s AND state IN ('pending', 'syncing')
  AND (%(days)s::date[] IS NULL OR sync_date = ANY(%(days)s::date[]))
  AND (%(run_id)s::text IS NULL OR state = 'pending' OR run_id = %(run_id)s)
  AND (%(planned_by)s::text IS NULL OR run_id = %(planned_by)s)
  AND (%(planned_before)s::timestamptz IS NULL OR state <> 'pending'
       OR created_at <= %(planned_before)s)

-- close_attempts: close attempts as failed, unless their state has changed in the meantime
UPDATE sync_attempt SET
    state = 'failed', error_message = %(error)s,
    ended_at = greatest(started_at, clock_timestamp() - make_interval(secs => %(ago)s))
WHERE id = ANY(%(ids)s) AND state = %(state)s

-- close_day_records: close the records of the days of these attempts as failed
UPDATE daily_sync_status record SET
    status = 'failed', remarks = %(remarks)s, error_message = %(error)s,
    end_time = greatest(record.start_time, clock_timestamp() - make_interval(secs => %(ago)s))
FROM sync_attempt
WHERE sync_attempt.id = ANY(%(ids)s) AND sync_attempt.attempt IS NOT NULL
  AND record.kind = 'day' AND record.dataset = sync_attempt.dataset
  AND record.sync_date = sync_attempt.sync_date AND record.attempt = sync_attempt.attempt
  AND record.status = 'syncing'

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
