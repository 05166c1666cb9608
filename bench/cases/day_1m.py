"""One large day: the cost of streaming through Python and tracking, compared with `psql | psql`."""

from datetime import timedelta

from bench import wide_rows
from bench.one_day import sync_day
from bench.pairs import measure_pairs, ratio, raw
from bench.psql_pipe import copy_day
from bench.results import Log, Result
from bench.stack import empty, make_target_table
from sync_pipeline.settings import SOURCE_URL, Settings

CASE = "day_1m"
_GOAL = 1.15
_PAIRS = 9
_ROWS = 1_000_000


def measure(settings: Settings, log: Log) -> Result:
    """Compare `sync_days` with `psql | psql` for a day of 1,000,000 rows."""
    log(f"creating {_ROWS:,} rows")
    wide_rows.make_day(settings, _ROWS)
    synced, piped = wide_rows.dataset("orders_synced"), wide_rows.dataset("orders_piped")
    for dataset in (synced, piped):
        make_target_table(settings, dataset)
    source, target = settings.postgres_url(SOURCE_URL), settings.database_url
    # Use the product's condition, so that both sides get the same query plan.
    column, day = wide_rows.DAY_COLUMN, wide_rows.DAY
    where = f"{column} >= '{day}' AND {column} < '{day + timedelta(days=1)}'"
    select = f"SELECT * FROM {wide_rows.SOURCE_TABLE}"

    def with_product() -> float:
        empty(settings, synced)
        return sync_day(synced, day, settings, _ROWS)

    def with_psql() -> float:
        empty(settings, piped)
        return copy_day(source, target, select=select, into=piped.target.table, where=where)

    pairs = measure_pairs(_PAIRS, with_product, with_psql, log)
    return Result(
        CASE,
        f"one day of {_ROWS:,} rows: sync_days, with tracking",
        "psql | psql, the same delete and COPY",
        ratio(pairs),
        _GOAL,
        raw(pairs),
    )
