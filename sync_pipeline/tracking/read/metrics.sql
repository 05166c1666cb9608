-- batches: number of batches by dataset and status
SELECT dataset, status, count(*) FROM daily_sync_status
WHERE kind = 'batch' AND remarks LIKE '%%批量同步%%' GROUP BY dataset, status

-- days: number of days, rows in the target and latest load by dataset and state
SELECT dataset,
       CASE WHEN status = 'failed' AND standing_since IS NOT NULL THEN 'resync_failed'
            ELSE status END AS state,
       count(*), coalesce(sum(standing_rows), 0)::bigint,
       extract(epoch FROM max(standing_since))::double precision
FROM daily_sync_status WHERE kind = 'day' GROUP BY dataset, state
