ALTER TABLE daily_sync_status
    ADD COLUMN already_synced text,
    ADD COLUMN retried_at timestamptz,
    ADD CONSTRAINT daily_sync_status_already_synced_known
        CHECK (already_synced IN ('skip', 'resync'));

-- Speed and time left of a batch that was taken up again are those of its latest try.
CREATE OR REPLACE VIEW sync_batch_progress AS
SELECT b.id, b.dataset, b.batch_key, b.sync_date, b.status, b.start_date, b.end_date,
       b.total_days,
       b.success_count + b.failed_count + b.skipped_count AS done_days,
       round(100.0 * (b.success_count + b.failed_count + b.skipped_count)
             / nullif(b.total_days, 0), 1) AS percent,
       b.success_count, b.failed_count, b.skipped_count, b.total_records,
       b.duration_seconds, t.elapsed_seconds,
       -- Speed is counted from the first day's beginning: a backfill waits for Dagster before it.
       round((CASE WHEN b.retried_at IS NULL THEN b.total_records ELSE w.rows_read END)
             / nullif(t.working_seconds, 0), 1) AS rows_per_second,
       CASE WHEN b.status = 'syncing' THEN round(
           t.working_seconds / nullif(CASE WHEN b.retried_at IS NULL
               THEN b.success_count + b.failed_count ELSE w.done_days END, 0)
           * (b.total_days - b.success_count - b.failed_count - b.skipped_count), 1)
       END AS eta_seconds,
       b.start_time, b.end_time, b.run_id, b.triggered_by, b.remarks, b.error_message,
       b.already_synced, b.retried_at
FROM daily_sync_status b
CROSS JOIN LATERAL (
    SELECT min(started_at) AS began,
           coalesce(sum(rows_read) FILTER (WHERE state = 'success'), 0) AS rows_read,
           count(*) FILTER (WHERE state IN ('success', 'failed')) AS done_days
    FROM sync_attempt
    WHERE batch_id = b.id AND started_at >= coalesce(b.retried_at, '-infinity')
) w
CROSS JOIN LATERAL (
    SELECT round(extract(epoch FROM ended - b.start_time), 3) AS elapsed_seconds,
           round(extract(epoch FROM ended - coalesce(w.began, b.retried_at, b.start_time)), 3)
           AS working_seconds
    FROM coalesce(b.end_time, clock_timestamp()) AS ended
) t
WHERE b.kind = 'batch';

COMMENT ON COLUMN daily_sync_status.already_synced IS
    'Batch record: whether days that are in already are left alone (skip) or done again (resync).';
COMMENT ON COLUMN daily_sync_status.retried_at IS
    'Batch record: when it was last taken up again after days of it had failed; NULL if never.';
