-- batches: number of batches by dataset and status
SELECT dataset, status, count(*) FROM daily_sync_status
WHERE kind = 'batch' AND remarks LIKE '%%批量同步%%' GROUP BY dataset, status

-- days: number of days, rows loaded and latest end time by dataset and status
SELECT dataset, status, count(*), sum(success_count)::bigint,
       extract(epoch FROM max(end_time))::double precision
FROM daily_sync_status WHERE kind = 'day' GROUP BY dataset, status
