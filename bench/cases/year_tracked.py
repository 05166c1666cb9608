"""A year of real days: the cost of tracking and Dagster's events."""

from datetime import date, timedelta
from statistics import median

from bench.bare_loop import copy_days
from bench.batch import run_batch
from bench.pairs import measure_pairs, ratio, raw
from bench.results import Log, Result
from bench.stack import empty, make_target_table
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.config.dataset import Dataset, PostgresTarget
from sync_pipeline.config.sources import PostgresSource
from sync_pipeline.local.demo_data import DATASET, load_flights
from sync_pipeline.settings import SOURCE_URL, Settings

CASE = "year_tracked"
_GOAL = 1.5
_PAIRS = 7
_DAYS = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]


def measure(settings: Settings, log: Log) -> Result:
    """Compare syncing 365 days through the batch job with a bare loop over the same days."""
    source = settings.postgres_url(SOURCE_URL)
    load_flights(source)
    tracked, bare = _into(DATASET), _into("flights_bare")
    for dataset in (tracked, bare):
        make_target_table(settings, dataset)
    request = BatchRequest(DATASET, _DAYS[0], _DAYS[-1], resync=True)
    commands = []

    def with_batch_job() -> float:
        empty(settings, tracked)
        duration = run_batch(settings, request)
        commands.append(duration.command_seconds)
        return duration.run_seconds

    def with_bare_loop() -> float:
        empty(settings, bare)
        where = {"table": DATASET, "into": bare.target.table, "day_column": "flight_date"}
        return copy_days(source, settings.database_url, **where, days=_DAYS)

    pairs = measure_pairs(_PAIRS, with_batch_job, with_bare_loop, log)
    command = {"command_seconds": round(median(commands), 3)}
    return Result(
        CASE,
        "365 days, 336,776 rows: the batch job's run, with tracking",
        "a bare loop, one transaction per day",
        ratio(pairs),
        _GOAL,
        raw(pairs) | command,
    )


def _into(table: str) -> Dataset:
    """Return the flights dataset with this target table."""
    return Dataset(
        name=table,
        start_date=_DAYS[0],
        source=PostgresSource(url_env=SOURCE_URL, table=DATASET, day_column="flight_date"),
        target=PostgresTarget(table=table),
    )
