-- register: register a worker; may be repeated, because the first registration may be lost
INSERT INTO sync_worker (run_id, host_id, pid, process_started)
VALUES (%(run_id)s, %(host_id)s, %(pid)s, %(process_started)s)
ON CONFLICT (run_id, host_id, pid) DO UPDATE SET
    process_started = excluded.process_started, heartbeat_at = clock_timestamp()

-- beat: record a heartbeat in the worker's row and in its current records; skips locked records
WITH worker AS (
    UPDATE sync_worker SET heartbeat_at = clock_timestamp()
    WHERE run_id = %(run_id)s AND host_id = %(host_id)s AND pid = %(pid)s
    RETURNING run_id
), running AS (
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
    WHERE id IN (SELECT id FROM running)
)
SELECT count(*) FROM worker

-- project: compute the records of the batches whose days the worker's run is syncing
SELECT sync_project_batches(array_agg(batch_id)) FROM sync_attempt
WHERE run_id = %(run_id)s AND state = 'syncing'

-- lock_registration: whether the worker is registered; locks its row until the transaction ends
SELECT FROM sync_worker WHERE run_id = %(run_id)s AND host_id = %(host_id)s AND pid = %(pid)s
FOR KEY SHARE

-- deregister: delete a worker that has ended
DELETE FROM sync_worker WHERE run_id = %(run_id)s AND host_id = %(host_id)s AND pid = %(pid)s

-- workers: all registered workers, with the seconds since their last heartbeat
SELECT run_id, host_id, pid, process_started,
       extract(epoch FROM clock_timestamp() - heartbeat_at)::double precision AS silent_seconds
FROM sync_worker ORDER BY run_id

