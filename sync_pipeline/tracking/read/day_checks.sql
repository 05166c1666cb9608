-- small_days: days with fewer rows than this fraction of the median of the preceding 28 days
SELECT record.sync_date, record.total_records, peers.median
FROM daily_sync_status record
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total_records) AS median, count(*) AS known
    FROM daily_sync_status peer
    WHERE peer.dataset = record.dataset AND peer.kind = 'day' AND peer.status = 'success'
      AND peer.sync_date >= record.sync_date - 28 AND peer.sync_date < record.sync_date
) AS peers
WHERE record.dataset = %(dataset)s AND record.kind = 'day' AND record.status = 'success'
  AND record.sync_date = ANY(%(days)s::date[])
  AND peers.known >= %(min_peers)s AND record.total_records < %(fraction)s * peers.median
ORDER BY record.sync_date

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
