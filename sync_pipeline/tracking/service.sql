-- upsert_day: create or update the day's record
INSERT INTO daily_sync_status AS record
    (sync_date, status, total_records, success_count, failed_count, remarks, error_message,
     duration_seconds, dataset, kind)
VALUES
    (%(sync_date)s, %(status)s, %(total_records)s, %(success_count)s, %(failed_count)s,
     %(remarks)s, %(error_message)s, %(duration_seconds)s, %(dataset)s, 'day')
ON CONFLICT (dataset, sync_date) WHERE kind = 'day' DO UPDATE SET
    status = excluded.status, total_records = excluded.total_records,
    success_count = excluded.success_count, failed_count = excluded.failed_count,
    remarks = excluded.remarks, error_message = excluded.error_message,
    start_time = CASE WHEN excluded.status = 'syncing' THEN clock_timestamp()
                      ELSE record.start_time END,
    end_time = NULL, duration_seconds = %(duration_seconds)s
RETURNING id

-- insert_batch: create a batch record, which the calling program will update
INSERT INTO daily_sync_status
    (sync_date, status, total_records, success_count, failed_count, remarks, error_message,
     duration_seconds, dataset, kind)
VALUES
    (%(sync_date)s, %(status)s, %(total_records)s, %(success_count)s, %(failed_count)s,
     %(remarks)s, %(error_message)s, %(duration_seconds)s, %(dataset)s, 'batch')
RETURNING id

-- find_open_batch: the latest open batch with this date that the pipeline does not manage
SELECT id FROM daily_sync_status
WHERE status = 'syncing' AND kind = 'batch' AND batch_key IS NULL
  AND dataset = %(dataset)s AND sync_date = %(sync_date)s
ORDER BY id DESC LIMIT 1

-- update: set the given columns, keep the others
UPDATE daily_sync_status SET
    status = coalesce(%(status)s, status),
    total_records = coalesce(%(total_records)s, total_records),
    success_count = coalesce(%(success_count)s, success_count),
    failed_count = coalesce(%(failed_count)s, failed_count),
    duration_seconds = coalesce(%(duration_seconds)s, duration_seconds),
    error_message = coalesce(%(error_message)s, error_message),
    remarks = coalesce(%(remarks)s, remarks)
WHERE id = %(record_id)s
