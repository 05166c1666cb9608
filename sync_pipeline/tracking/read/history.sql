-- columns: columns of a record `r` and, for a batch, of its progress `p`
r.id, r.sync_date, r.status, r.total_records, r.success_count, r.failed_count, r.remarks,
r.error_message, r.start_time, r.end_time, r.duration_seconds, r.dataset, r.kind, r.batch_key,
r.start_date, r.end_date, r.total_days, r.skipped_count, r.attempt, r.run_id, r.triggered_by,
r.heartbeat_at, r.already_synced, r.retried_at, r.cancelled_by, r.standing_rows, r.standing_since,
r.warning, r.created_at, r.updated_at, r.change, p.done_days, p.percent, p.rows_per_second, p.eta_seconds, p.elapsed_seconds

-- progress: join for batch records only; OFFSET 0 keeps the planner from computing all batches
LEFT JOIN LATERAL (
    SELECT done_days, percent::double precision, rows_per_second::double precision,
           eta_seconds::double precision, elapsed_seconds::double precision
    FROM sync_batch_progress WHERE id = r.id OFFSET 0
) p ON r.kind = 'batch'

-- by_ids: records by ID
SELECT {columns} FROM daily_sync_status r {progress} WHERE r.id = ANY(%(ids)s)

-- changed_after: records with a higher change number, ordered by it
SELECT {columns} FROM (
    SELECT * FROM daily_sync_status WHERE change > %(after)s ORDER BY change LIMIT %(limit)s
) AS r {progress} ORDER BY r.change

-- changed_late: records with a lower change number that may have become visible later, latest first
-- Change numbers increase with time, except among concurrent transactions. Scans the index on
-- updated_at from its end, back to the overlap before the given change.
SELECT {columns} FROM (
    SELECT * FROM daily_sync_status
    WHERE change <= %(after)s AND updated_at > (
        SELECT updated_at FROM daily_sync_status
        WHERE change <= %(after)s ORDER BY change DESC LIMIT 1
    ) - make_interval(secs => %(seconds)s)
    ORDER BY updated_at DESC LIMIT %(limit)s
) AS r {progress}

-- latest_change: the highest change number
SELECT coalesce(max(change), 0) FROM daily_sync_status

-- days_of_batch: the current attempt for each day of a batch, oldest day first
SELECT id, sync_date, state, attempt, superseded, batch_id, rows_read, rows_loaded, rows_rejected,
       bytes, duration_seconds, error_message, run_id, triggered_by, started_at, ended_at
FROM sync_attempt WHERE batch_id = %(id)s AND NOT superseded ORDER BY sync_date

-- attempts_of_batch: attempts of a batch, newest first
-- If the limit is exceeded, superseded attempts take precedence over current ones.
SELECT id, sync_date, state, attempt, superseded, batch_id, rows_read, rows_loaded, rows_rejected,
       bytes, duration_seconds, error_message, run_id, triggered_by, started_at, ended_at
FROM (
    SELECT * FROM sync_attempt WHERE batch_id = %(id)s
    ORDER BY superseded DESC, id DESC LIMIT %(limit)s
) AS shown ORDER BY id DESC

-- attempts_of_day: all attempts for a day of a dataset, in all batches, newest first
SELECT id, sync_date, state, attempt, superseded, batch_id, rows_read, rows_loaded, rows_rejected,
       bytes, duration_seconds, error_message, run_id, triggered_by, started_at, ended_at
FROM sync_attempt WHERE dataset = %(dataset)s AND sync_date = %(day)s
ORDER BY id DESC LIMIT %(limit)s
