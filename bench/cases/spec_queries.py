"""The specification's three queries with a million records."""

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from bench import million
from bench.pairs import Pair, measure_pairs, ratio, raw
from bench.results import Log, Result
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TrackingError
from sync_pipeline.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

CASE = "spec_queries"
_GOAL = 1.5
_PAIRS = 41
_QUERIES = {
    "all_batches": "SELECT * FROM daily_sync_status WHERE remarks LIKE '%批量同步%'"
    " ORDER BY start_time DESC",
    "running": "SELECT * FROM daily_sync_status WHERE status = 'syncing'"
    " AND remarks LIKE '%批量同步%'",
    "finished": "SELECT * FROM daily_sync_status WHERE status = 'success'"
    " AND remarks LIKE '%批量同步%' ORDER BY end_time DESC LIMIT 10",
}


def measure(settings: Settings, log: Log) -> Result:
    """Time each query, and fetching its rows by primary key, until the last row is fetched."""
    million.make_records(settings, log)
    connection = connect(
        settings.tracking_url,
        setting=settings.tracking_setting,
        purpose="bench",
        error=TrackingError,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        pairs = {name: _measure(cursor, name, query, log) for name, query in _QUERIES.items()}
    slowest = max(pairs, key=lambda name: ratio(pairs[name]))
    return Result(
        CASE,
        f"the slowest of the specification's three queries with 1,000,000 records, "
        f"{million.BATCHES:,} of them batches: {slowest}, all rows fetched",
        "fetching the same rows by primary key",
        ratio(pairs[slowest]),
        _GOAL,
        raw(pairs[slowest]) | {f"{name}_ratio": round(ratio(pairs[name]), 2) for name in pairs},
    )


def _measure(cursor: "Cursor", name: str, query: str, log: Log) -> list[Pair]:
    cursor.execute(query)
    assert cursor.description is not None
    id_column = [column.name for column in cursor.description].index("id")
    ids = [row[id_column] for row in cursor.fetchall()]
    by_key = "SELECT * FROM daily_sync_status WHERE id = ANY(%s)"
    pairs = measure_pairs(
        _PAIRS, partial(_time, cursor, query), partial(_time, cursor, by_key, [ids]), lambda _: None
    )
    log(f"{name}: {len(ids):,} rows, {ratio(pairs):.2f} times as long as by primary key")
    return pairs


def _time(cursor: "Cursor", query: str, values: Sequence[object] | None = None) -> float:
    started = time.perf_counter()
    cursor.execute(query, values)
    cursor.fetchall()
    return time.perf_counter() - started
