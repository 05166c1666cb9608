-- rows_of_days: how many rows the target has for each day in a range, if the day has been loaded
SELECT sync_date, standing_rows FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND standing_since IS NOT NULL
  AND sync_date BETWEEN %(first)s AND %(last)s

-- warnings: those of these days that have a warning
SELECT sync_date, warning FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND warning IS NOT NULL
  AND sync_date = ANY(%(days)s::date[])
ORDER BY sync_date

-- latest_requested_days: the first and the last day of what was last requested in this way
SELECT coalesce((SELECT min(sync_date) FROM sync_attempt WHERE batch_id = latest.batch_id),
                latest.sync_date), latest.sync_date
FROM (SELECT sync_date, batch_id FROM sync_attempt
      WHERE dataset = %(dataset)s AND triggered_by = %(triggered_by)s
      ORDER BY sync_date DESC, id DESC LIMIT 1) AS latest

-- first_unsynced_day: the first day in a range that is not synced
SELECT min(day)::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS day
WHERE NOT EXISTS (
    SELECT FROM daily_sync_status
    WHERE dataset = %(dataset)s AND sync_date = day::date AND kind = 'day' AND status = 'success')

-- failed_or_missing_days: days with no attempt or a failed latest attempt, with its batch key
-- Leaves out synced days that append_only without a key would reject again.
SELECT day::date, batch.batch_key
FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS day
LEFT JOIN LATERAL (
    SELECT state, refused, batch_id FROM sync_attempt
    WHERE dataset = %(dataset)s AND sync_date = day::date ORDER BY id DESC LIMIT 1
) AS latest ON true
LEFT JOIN daily_sync_status batch ON batch.id = latest.batch_id
LEFT JOIN daily_sync_status record
       ON record.dataset = %(dataset)s AND record.sync_date = day::date AND record.kind = 'day'
WHERE coalesce(latest.state, 'failed') = 'failed'
  AND NOT coalesce(latest.refused AND record.status = 'success', false)
