-- attempts_in_range: all attempts of a batch at the days in a range, oldest day first
SELECT id, sync_date, state, attempt, superseded, batch_id, rows_read, rows_loaded, rows_rejected,
       bytes, duration_seconds, error_message, run_id, triggered_by, started_at, ended_at
FROM sync_attempt
WHERE batch_id = %(id)s AND sync_date BETWEEN %(first)s AND %(last)s
ORDER BY sync_date, id
