-- invalidate_days: mark as failed the days that were synced before this time
WITH invalidated AS (
    UPDATE daily_sync_status SET
        status = 'failed', total_records = 0, success_count = 0, failed_count = 0,
        remarks = %(remarks)s, error_message = %(error)s
    WHERE dataset = %(dataset)s AND kind = 'day' AND status = 'success' AND end_time < %(before)s
      AND attempt > 0  -- written by the pipeline, not through SyncStatusService or SQL
    RETURNING sync_date
)
SELECT count(*), min(sync_date), max(sync_date) FROM invalidated
