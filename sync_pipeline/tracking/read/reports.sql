-- progress: a batch by its record ID
SELECT * FROM sync_batch_progress p
WHERE p.id = %(id)s

-- progress_by_key: batches by batch key
SELECT * FROM sync_batch_progress p
WHERE p.batch_key = %(batch_key)s ORDER BY p.id

-- recent_batches: the latest batches, newest first
SELECT * FROM sync_batch_progress p
ORDER BY p.start_time DESC, p.id DESC LIMIT %(limit)s

-- days_of_batch: the current attempt for each day of a batch
SELECT sync_date, state, attempt, rows_read, rows_loaded, rows_rejected, bytes,
       duration_seconds, error_message, run_id
FROM sync_attempt WHERE batch_id = %(id)s AND NOT superseded ORDER BY sync_date
