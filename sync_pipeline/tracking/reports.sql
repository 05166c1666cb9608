-- progress: one batch by its record id
SELECT p.*, b.remarks FROM sync_batch_progress p JOIN daily_sync_status b USING (id)
WHERE p.id = %(id)s

-- progress_by_key: one batch by its batch key
SELECT p.*, b.remarks FROM sync_batch_progress p JOIN daily_sync_status b USING (id)
WHERE p.batch_key = %(batch_key)s

-- recent_batches: the latest batches, newest first
SELECT p.*, b.remarks FROM sync_batch_progress p JOIN daily_sync_status b USING (id)
ORDER BY p.start_time DESC, p.id DESC LIMIT %(limit)s

-- days_of_batch: the standing attempt at each day of a batch
SELECT sync_date, state, attempt, rows_read, rows_loaded, rows_rejected, bytes,
       duration_seconds, error_message, run_id
FROM sync_attempt WHERE batch_id = %(id)s AND NOT superseded ORDER BY sync_date
