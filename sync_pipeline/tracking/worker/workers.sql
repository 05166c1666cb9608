-- sign_on: a worker begins, or begins again after a database that was away
INSERT INTO sync_worker (run_id, host_id, pid, process_started)
VALUES (%(run_id)s, %(host_id)s, %(pid)s, %(process_started)s)
ON CONFLICT (run_id, host_id, pid) DO UPDATE SET
    process_started = excluded.process_started, heartbeat_at = clock_timestamp()

-- beat: a sign of life, also in the records of what the worker is at; rows in use are left for later
WITH worker AS (
    UPDATE sync_worker SET heartbeat_at = clock_timestamp()
    WHERE run_id = %(run_id)s AND host_id = %(host_id)s AND pid = %(pid)s
    RETURNING run_id
), at_work AS (
    SELECT record.id FROM sync_attempt
    JOIN daily_sync_status record
      ON record.id = sync_attempt.batch_id
      OR (record.kind = 'day' AND record.dataset = sync_attempt.dataset
          AND record.sync_date = sync_attempt.sync_date)
    WHERE sync_attempt.run_id = (SELECT run_id FROM worker) AND sync_attempt.state = 'syncing'
      AND record.status = 'syncing'
    FOR NO KEY UPDATE OF record SKIP LOCKED
), records AS (
    UPDATE daily_sync_status SET heartbeat_at = clock_timestamp()
    WHERE id IN (SELECT id FROM at_work)
)
SELECT count(*) FROM worker

-- hold: whether the worker is still known, and keep it so until the transaction ends
SELECT FROM sync_worker WHERE run_id = %(run_id)s AND host_id = %(host_id)s AND pid = %(pid)s
FOR KEY SHARE

-- sign_off: a worker has ended as it should
DELETE FROM sync_worker WHERE run_id = %(run_id)s AND host_id = %(host_id)s AND pid = %(pid)s

-- workers: all that have signed on, with the seconds since their last sign of life
SELECT run_id, host_id, pid, process_started,
       extract(epoch FROM clock_timestamp() - heartbeat_at)::double precision AS silent_seconds
FROM sync_worker ORDER BY run_id

