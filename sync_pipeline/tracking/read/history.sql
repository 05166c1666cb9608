-- columns: a record with its progress, if it is a batch; `r` is the record
r.id, r.sync_date, r.status, r.total_records, r.success_count, r.failed_count, r.remarks,
r.error_message, r.start_time, r.end_time, r.duration_seconds, r.dataset, r.kind, r.batch_key,
r.start_date, r.end_date, r.total_days, r.skipped_count, r.attempt, r.run_id, r.triggered_by,
r.heartbeat_at, r.already_synced, r.retried_at, r.cancelled_by, r.created_at, r.updated_at,
r.change, p.done_days, p.percent, p.rows_per_second, p.eta_seconds, p.elapsed_seconds

-- progress: joined for the batches among the records alone; OFFSET 0 keeps it from all the others
LEFT JOIN LATERAL (
    SELECT done_days, percent::double precision, rows_per_second::double precision,
           eta_seconds::double precision, elapsed_seconds::double precision
    FROM sync_batch_progress WHERE id = r.id OFFSET 0
) p ON r.kind = 'batch'

-- by_ids: these records
SELECT {columns} FROM daily_sync_status r {progress} WHERE r.id = ANY(%(ids)s)

-- changed_after: what changed after this number, in the order of the changes
SELECT {columns} FROM (
    SELECT * FROM daily_sync_status WHERE change > %(after)s ORDER BY change LIMIT %(limit)s
) AS r {progress} ORDER BY r.change

-- changed_late: what has an earlier number and may have become visible later, the latest first
-- Numbers rise with the time, but for transactions that were open at once. The index by time is
-- walked from its end, over what changed after and over that moment.
SELECT {columns} FROM (
    SELECT * FROM daily_sync_status
    WHERE change <= %(after)s AND updated_at > (
        SELECT updated_at FROM daily_sync_status
        WHERE change <= %(after)s ORDER BY change DESC LIMIT 1
    ) - make_interval(secs => %(seconds)s)
    ORDER BY updated_at DESC LIMIT %(limit)s
) AS r {progress}

-- latest_change: the highest number there is
SELECT coalesce(max(change), 0) FROM daily_sync_status

-- days_of_batch: the standing attempt at each day of a batch, oldest day first
SELECT id, sync_date, state, attempt, superseded, batch_id, rows_read, rows_loaded, rows_rejected,
       bytes, duration_seconds, error_message, run_id, triggered_by, started_at, ended_at
FROM sync_attempt WHERE batch_id = %(id)s AND NOT superseded ORDER BY sync_date

-- attempts_of_batch: attempts of a batch, the newest first
-- If they are too many, those that no day shows any more come before those that stand.
SELECT id, sync_date, state, attempt, superseded, batch_id, rows_read, rows_loaded, rows_rejected,
       bytes, duration_seconds, error_message, run_id, triggered_by, started_at, ended_at
FROM (
    SELECT * FROM sync_attempt WHERE batch_id = %(id)s
    ORDER BY superseded DESC, id DESC LIMIT %(limit)s
) AS shown ORDER BY id DESC

-- attempts_of_day: all attempts at a day of a dataset, in all batches, the newest first
SELECT id, sync_date, state, attempt, superseded, batch_id, rows_read, rows_loaded, rows_rejected,
       bytes, duration_seconds, error_message, run_id, triggered_by, started_at, ended_at
FROM sync_attempt WHERE dataset = %(dataset)s AND sync_date = %(day)s
ORDER BY id DESC LIMIT %(limit)s
