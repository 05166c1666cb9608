-- upsert_day: create the day's record, or bring it to this state
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

-- insert_batch: open a batch record that the caller keeps up to date
INSERT INTO daily_sync_status
    (sync_date, status, total_records, success_count, failed_count, remarks, error_message,
     duration_seconds, dataset, kind)
VALUES
    (%(sync_date)s, %(status)s, %(total_records)s, %(success_count)s, %(failed_count)s,
     %(remarks)s, %(error_message)s, %(duration_seconds)s, %(dataset)s, 'batch')
RETURNING id

-- find_open_batch: the batch of this date that the caller is keeping up to date, if any
SELECT id FROM daily_sync_status
WHERE status = 'syncing' AND kind = 'batch' AND batch_key IS NULL
  AND dataset = %(dataset)s AND sync_date = %(sync_date)s
ORDER BY id DESC LIMIT 1

-- update: change what is given, leave the rest
UPDATE daily_sync_status SET
    status = coalesce(%(status)s, status),
    total_records = coalesce(%(total_records)s, total_records),
    success_count = coalesce(%(success_count)s, success_count),
    failed_count = coalesce(%(failed_count)s, failed_count),
    duration_seconds = coalesce(%(duration_seconds)s, duration_seconds),
    error_message = coalesce(%(error_message)s, error_message),
    remarks = coalesce(%(remarks)s, remarks)
WHERE id = %(record_id)s
