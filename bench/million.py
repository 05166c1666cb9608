"""A million records, as if from many datasets over years: 999,000 days and 1,000 batches."""

from bench.results import Log
from bench.stack import query_one, run_sql
from sync_pipeline.settings import Settings

DATASETS = 300
DAYS = 3_330  # per dataset
BATCHES = 1_000
BATCH_DAYS = 999
FIRST = "2016-01-01"

# Load without triggers, which would send a notification for each record, and without indexes, which
# are faster to create afterwards.
_NO_TRIGGERS = "SET session_replication_role = replica"
_INDEXES = """
SELECT json_agg(json_build_array(indexname, indexdef)) FROM pg_indexes
WHERE tablename IN ('daily_sync_status', 'sync_attempt')
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname)
"""
_BATCHES = f"""
INSERT INTO daily_sync_status (sync_date, status, dataset, kind, batch_key, start_date, end_date,
    total_days, success_count, failed_count, total_records, remarks, error_message, start_time,
    end_time, duration_seconds, run_id, triggered_by, already_synced, change)
SELECT day + {BATCH_DAYS // 2}, CASE WHEN failed > 0 THEN 'failed' ELSE 'success' END,
    'dataset_' || n % {DATASETS}, 'batch', 'batch-' || n, day, day + {BATCH_DAYS - 1},
    {BATCH_DAYS}, {BATCH_DAYS} - failed, failed, {BATCH_DAYS} * 100,
    '批量同步完成: ' || day || '至' || day + {BATCH_DAYS - 1} || ', 共{BATCH_DAYS}天',
    CASE WHEN failed > 0 THEN 'disk full' END, began, began + interval '10 min', 600,
    'run-' || n, 'bench', 'skip', n
FROM generate_series(1, {BATCHES}) AS n,
LATERAL (SELECT date '{FIRST}' + (n / {DATASETS}) * {BATCH_DAYS} AS day,
    (n % 10 = 0)::integer * 3 AS failed,
    timestamptz '2025-01-01Z' + n * interval '3 hours' AS began) AS x
"""
_DAYS = f"""
INSERT INTO daily_sync_status (sync_date, status, dataset, kind, start_date, end_date, total_days,
    total_records, success_count, remarks, error_message, start_time, end_time, duration_seconds,
    attempt, run_id, triggered_by, change)
SELECT day, CASE WHEN bad THEN 'failed' ELSE 'success' END, 'dataset_' || n, 'day', day, day, 1,
    100, CASE WHEN bad THEN 0 ELSE 100 END,
    CASE WHEN bad THEN '单日同步失败: disk full' ELSE '单日同步完成: 读取100行, 写入100行' END,
    CASE WHEN bad THEN 'disk full' END, began, began + interval '2 s', 1 + (d + n) % 90, 1,
    'run-' || (n * 7 + d / {BATCH_DAYS}) % {BATCHES}, 'bench', {BATCHES} + n * {DAYS} + d
FROM generate_series(0, {DATASETS - 1}) AS n, generate_series(0, {DAYS - 1}) AS d,
LATERAL (SELECT date '{FIRST}' + d AS day, (d * 31 + n) % 200 = 0 AS bad,
    timestamptz '{FIRST}' + (d + 1) * interval '1 day' + n * interval '3 min' AS began) AS x
"""
_ATTEMPTS = """
INSERT INTO sync_attempt (dataset, sync_date, batch_id, attempt, state, rows_read, rows_loaded,
    error_message, run_id, triggered_by, started_at, ended_at, materialized_at)
SELECT r.dataset, r.sync_date, b.id, 1, r.status, 100, 100, r.error_message, r.run_id, 'bench',
    r.start_time, r.end_time, r.end_time
FROM (SELECT * FROM daily_sync_status WHERE kind = 'day') AS r
LEFT JOIN (SELECT * FROM daily_sync_status WHERE kind = 'batch') AS b
    ON b.dataset = r.dataset AND r.sync_date BETWEEN b.start_date AND b.end_date
"""


def make_records(settings: Settings, log: Log) -> None:
    """Fill the tracking tables, then vacuum and analyze them."""
    log(f"creating {DATASETS * DAYS + BATCHES:,} records and {DATASETS * DAYS:,} attempts")
    url = settings.tracking_url
    (indexes,) = query_one(url, _INDEXES, [])
    run_sql(
        url,
        *(f"DROP INDEX {name}" for name, _ in indexes),
        _NO_TRIGGERS,
        _BATCHES,
        _DAYS,
        _ATTEMPTS,
        *(definition for _, definition in indexes),
        "SELECT setval('daily_sync_status_change', max(change)) FROM daily_sync_status",
        "VACUUM ANALYZE daily_sync_status",
        "VACUUM ANALYZE sync_attempt",
        "CHECKPOINT",
    )
