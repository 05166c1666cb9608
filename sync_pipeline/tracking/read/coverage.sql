-- days_of_dataset: the day records of a dataset in a range
SELECT sync_date, status, success_count, failed_count, duration_seconds, end_time, id, error_message,
       change, standing_rows, standing_since, warning
FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND sync_date BETWEEN %(first)s AND %(last)s
ORDER BY sync_date

-- known_days: the first and last day in the records of a dataset
SELECT min(start_date), max(end_date) FROM daily_sync_status WHERE dataset = %(dataset)s

-- synced_days: the synced days in a range
SELECT sync_date FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND status = 'success'
  AND sync_date BETWEEN %(first)s AND %(last)s
