-- rows_of_days: how many rows the target has for each day in a range, if the day has been loaded
SELECT sync_date, standing_rows FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND standing_since IS NOT NULL
  AND sync_date BETWEEN %(first)s AND %(last)s

-- warnings: those of these days that have a warning
SELECT sync_date, warning FROM daily_sync_status
WHERE dataset = %(dataset)s AND kind = 'day' AND warning IS NOT NULL
  AND sync_date = ANY(%(days)s::date[])
ORDER BY sync_date

-- missed_days: days that are not synced, from the one after the last day that was requested by
-- this schedule to the one before `before`: the first one and their number
SELECT min(day)::date, count(*) FROM generate_series(
    (SELECT max(sync_date) + 1 FROM sync_attempt
     WHERE dataset = %(dataset)s AND triggered_by = %(triggered_by)s),
    %(before)s::date - 1, interval '1 day') AS day
WHERE NOT EXISTS (
    SELECT FROM daily_sync_status
    WHERE dataset = %(dataset)s AND sync_date = day::date AND kind = 'day' AND status = 'success')

-- failed_or_missing_days: days with no attempt or a failed latest attempt, with its batch key
-- Not synced days that cannot be synced again: append_only without a key would reject them again.
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
