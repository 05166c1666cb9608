"""The specification's three queries at a million records."""

import statistics
import time
from contextlib import closing

from bench import million
from bench.results import Result, Say
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TrackingError
from sync_pipeline.settings import Settings

CASE = "spec_queries"
_GOAL_SECONDS = 0.010
_TURNS = 41
_QUERIES = {
    "all_batches": "SELECT * FROM daily_sync_status WHERE remarks LIKE '%批量同步%'"
    " ORDER BY start_time DESC",
    "running": "SELECT * FROM daily_sync_status WHERE status = 'syncing'"
    " AND remarks LIKE '%批量同步%'",
    "finished": "SELECT * FROM daily_sync_status WHERE status = 'success'"
    " AND remarks LIKE '%批量同步%' ORDER BY end_time DESC LIMIT 10",
}


def measure(settings: Settings, say: Say) -> Result:
    """Measure each query, from its text to its last row here, and take the slowest's median."""
    million.make_records(settings, say)
    medians = {}
    connection = connect(
        settings.tracking_url,
        setting=settings.tracking_setting,
        purpose="bench",
        error=TrackingError,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        for name, query in _QUERIES.items():
            seconds = []
            for _ in range(_TURNS):
                began = time.perf_counter()
                cursor.execute(query)
                rows = cursor.fetchall()
                seconds.append(time.perf_counter() - began)
            medians[f"{name}_seconds"] = round(statistics.median(seconds), 5)
            say(f"{name}: {len(rows):,} rows in {medians[f'{name}_seconds'] * 1000:.2f} ms")
    return Result(
        CASE,
        f"the slowest of the specification's three queries at 1,000,000 records, "
        f"{million.BATCHES:,} of them batches: median, all rows fetched",
        f"{_GOAL_SECONDS * 1000:.0f} ms",
        max(medians.values()) / _GOAL_SECONDS,
        1.0,
        medians,
    )
