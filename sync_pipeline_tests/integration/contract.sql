-- Every SQL statement printed in the specification 批量同步数据库追踪功能, unchanged.

-- open_record: 阶段1：任务启动
INSERT INTO daily_sync_status (
    sync_date, status, total_records, success_count, failed_count,
    remarks, start_time
) VALUES (
    '2025-10-05',  -- 中间日期
    'syncing',
    0, 0, 0,
    '批量同步: 2025-10-01 至 2025-10-10, 共10天',
    CURRENT_TIMESTAMP
);

-- progress_record: 阶段2：同步进行中
UPDATE daily_sync_status 
SET 
    total_records = 15000,
    success_count = 2,
    failed_count = 0,
    remarks = '批量同步进度: 3/10天, 成功2, 失败0, 跳过1'
WHERE id = 123;

-- finish_record: 阶段3：任务完成
UPDATE daily_sync_status 
SET 
    status = 'success',
    total_records = 42000,
    success_count = 8,
    failed_count = 0,
    duration_seconds = 930,
    end_time = CURRENT_TIMESTAMP,
    remarks = '批量同步完成: ...'
WHERE id = 123;

-- all_batches: 查询方法, the first query
-- 查看所有批量同步记录（remarks包含"批量同步"）
SELECT * FROM daily_sync_status 
WHERE remarks LIKE '%批量同步%'
ORDER BY start_time DESC;

-- running_batches: 查询方法, the second query
-- 查看正在进行的批量同步
SELECT * FROM daily_sync_status 
WHERE status = 'syncing' 
  AND remarks LIKE '%批量同步%';

-- latest_finished_batches: 查询方法, the third query
-- 查看最近完成的批量同步
SELECT * FROM daily_sync_status 
WHERE status = 'success' 
  AND remarks LIKE '%批量同步%'
ORDER BY end_time DESC 
LIMIT 10;

-- watch_progress: 使用示例, the first query
-- 实时查看进度
SELECT 
    id,
    sync_date,
    status,
    total_records,
    success_count,
    failed_count,
    remarks,
    start_time,
    EXTRACT(EPOCH FROM (CURRENT_TIMESTAMP - start_time)) as elapsed_seconds
FROM daily_sync_status 
WHERE status = 'syncing' 
  AND remarks LIKE '%批量同步%';

-- finished_batches: 使用示例, the second query
-- 查看完成记录
SELECT 
    id,
    sync_date,
    status,
    total_records,
    success_count,
    failed_count,
    duration_seconds,
    remarks
FROM daily_sync_status 
WHERE status = 'success' 
  AND remarks LIKE '%批量同步%'
ORDER BY end_time DESC;
