-- begin_day_record: number a new attempt at the day and show the day as syncing
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
-- Somebody may have brought the day in since it was looked at.
WHERE record.status <> 'success' OR %(again)s AND NOT EXISTS (
    SELECT FROM sync_attempt
    WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded
      AND state IN ('success', 'skipped'))
RETURNING id, attempt

-- end_lost_attempts: whoever was at this day is gone, for the new worker holds its lock
-- Or it is the same worker, which tries again and says why.
UPDATE sync_attempt SET
    state = 'failed', ended_at = clock_timestamp(),
    error_message = CASE WHEN id = %(after)s THEN %(after_error)s
        ELSE 'superseded: attempt ' || %(number)s || ' began, this one had lost the day' END
WHERE dataset = %(dataset)s AND sync_date = %(day)s AND state = 'syncing'
RETURNING batch_id

-- begin_planned: the batch's pending day becomes this attempt
UPDATE sync_attempt SET
    state = 'syncing', attempt = %(number)s, started_at = clock_timestamp(),
    run_id = %(run_id)s, triggered_by = coalesce(%(triggered_by)s, triggered_by)
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state = 'pending'
RETURNING id

-- cancelled_by: who cancelled the batch, if anybody has
SELECT cancelled_by FROM daily_sync_status WHERE id = %(batch_id)s AND cancelled_by IS NOT NULL

-- supersede: an earlier attempt of the same batch at this day no longer stands for it
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded

-- begin_unplanned: a day alone, or another try at a day of a batch
INSERT INTO sync_attempt
    (dataset, sync_date, batch_id, attempt, state, run_id, triggered_by, started_at)
VALUES
    (%(dataset)s, %(day)s, %(batch_id)s, %(number)s, 'syncing', %(run_id)s, %(triggered_by)s,
     clock_timestamp())
RETURNING id

-- succeed: close the attempt and the day's record, only if no later attempt has begun
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

-- replayed: rows of a day that had been set aside are in now, all but so many
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

-- replayed_remarks: the day's sentence with the new counts
UPDATE daily_sync_status SET remarks = %(remarks)s WHERE id = %(id)s

-- fail: close an attempt that failed, with its day's record, if it is not over already
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

-- state: how an attempt stands; none if it was lost with its server
SELECT state FROM sync_attempt WHERE id = %(id)s AND attempt = %(number)s

-- refused_already: whether this run has said so before
SELECT FROM sync_attempt
WHERE dataset = %(dataset)s AND sync_date = %(day)s AND state = 'failed' AND attempt IS NULL
  AND batch_id IS NOT DISTINCT FROM %(batch_id)s::bigint AND run_id = %(run_id)s
  AND error_message = %(error)s

-- refuse_planned: a batch's pending day fails without having begun
UPDATE sync_attempt SET
    state = 'failed', ended_at = clock_timestamp(), run_id = %(run_id)s, error_message = %(error)s
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state = 'pending'

-- supersede_ended: the same, but not an attempt that is at work on the day
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded AND state <> 'syncing'

-- refuse_unplanned: a day fails without having begun; it stands unless the batch is at work on it
INSERT INTO sync_attempt
    (dataset, sync_date, batch_id, state, run_id, triggered_by, error_message, ended_at, superseded)
SELECT
    %(dataset)s, %(day)s, %(batch_id)s, 'failed', %(run_id)s, %(triggered_by)s, %(error)s,
    clock_timestamp(),
    EXISTS (SELECT FROM sync_attempt
            WHERE batch_id = %(batch_id)s AND sync_date = %(day)s AND NOT superseded)

-- skip: days of a batch that were already synced and stay as they are
UPDATE sync_attempt SET state = 'skipped', ended_at = clock_timestamp(), run_id = %(run_id)s
WHERE batch_id = %(batch_id)s AND sync_date = ANY(%(days)s::date[])
  AND NOT superseded AND state = 'pending'

-- supersede_failed: days that failed in the batch, and that somebody else has synced since
UPDATE sync_attempt SET superseded = true
WHERE batch_id = %(batch_id)s AND sync_date = ANY(%(days)s::date[])
  AND NOT superseded AND state = 'failed'
RETURNING sync_date

-- skip_failed: the same days, skipped
INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, run_id, triggered_by, ended_at)
SELECT record.dataset, day, record.id, 'skipped', %(run_id)s, record.triggered_by, clock_timestamp()
FROM daily_sync_status record, unnest(%(days)s::date[]) AS day
WHERE record.id = %(batch_id)s

-- synced_days: which of these days are in, with their records
SELECT sync_date, id, attempt, success_count FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND status = 'success'
  AND sync_date = ANY(%(days)s::date[])

-- is_known: whether a run's attempt at a day, or its skipping it, ended so
SELECT FROM sync_attempt
WHERE dataset = %(dataset)s AND sync_date = %(day)s AND run_id = %(run_id)s AND state = %(state)s

-- syncing_of_run: what a run was doing
SELECT id, attempt, dataset, sync_date, batch_id FROM sync_attempt
WHERE run_id = %(run_id)s AND state = 'syncing'

-- unfinished_of_batch: what of a batch is not over, within these days; begun by this run only
SELECT id, attempt, dataset, sync_date, batch_id FROM sync_attempt
WHERE batch_id = %(batch_id)s AND state IN ('pending', 'syncing')
  AND (%(days)s::date[] IS NULL OR sync_date = ANY(%(days)s::date[]))
  AND (%(run_id)s::text IS NULL OR state = 'pending' OR run_id = %(run_id)s)
  AND (%(planned_by)s::text IS NULL OR run_id = %(planned_by)s)
  AND (%(planned_before)s::timestamptz IS NULL OR state <> 'pending'
       OR created_at <= %(planned_before)s)

-- give_up_attempts: close attempts that nobody will finish, unless they have gone on meanwhile
UPDATE sync_attempt SET
    state = 'failed', error_message = %(error)s,
    ended_at = greatest(started_at, clock_timestamp() - make_interval(secs => %(ago)s))
WHERE id = ANY(%(ids)s) AND state = %(state)s

-- give_up_day_records: the records of the days among them follow
UPDATE daily_sync_status record SET
    status = 'failed', remarks = %(remarks)s, error_message = %(error)s,
    end_time = greatest(record.start_time, clock_timestamp() - make_interval(secs => %(ago)s))
FROM sync_attempt
WHERE sync_attempt.id = ANY(%(ids)s) AND sync_attempt.attempt IS NOT NULL
  AND record.kind = 'day' AND record.dataset = sync_attempt.dataset
  AND record.sync_date = sync_attempt.sync_date AND record.attempt = sync_attempt.attempt
  AND record.status = 'syncing'

-- untold: days that are in and that Dagster was not told of, whose worker is gone
SELECT a.id, a.dataset, a.sync_date, a.attempt, a.run_id, record.id, a.rows_loaded, a.bytes,
       a.duration_seconds
FROM sync_attempt a
JOIN daily_sync_status record
  ON record.kind = 'day' AND record.dataset = a.dataset AND record.sync_date = a.sync_date
WHERE a.state = 'success' AND a.materialized_at IS NULL AND a.run_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM sync_worker WHERE sync_worker.run_id = a.run_id)
ORDER BY a.id LIMIT %(limit)s

-- mark_told: Dagster has been told of these
UPDATE sync_attempt SET materialized_at = clock_timestamp() WHERE id = ANY(%(ids)s)

-- runs_without_worker: runs with an attempt at work that began a while ago and has no worker
SELECT DISTINCT run_id FROM sync_attempt
WHERE state = 'syncing' AND run_id IS NOT NULL
  AND started_at < clock_timestamp() - make_interval(secs => %(seconds)s)
  AND NOT EXISTS (SELECT FROM sync_worker WHERE sync_worker.run_id = sync_attempt.run_id)
