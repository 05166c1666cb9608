"""A year of real days: what tracking and Dagster's events cost beside the rows themselves."""

from datetime import date, timedelta
from statistics import median

from bench.bare_loop import copy_days
from bench.batch import run_batch
from bench.pairs import measure_pairs, ratio, raw
from bench.results import Result, Say
from bench.stack import empty, make_target_table
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.config.dataset import Dataset, PostgresTarget
from sync_pipeline.config.sources import PostgresSource
from sync_pipeline.local.demo_data import DATASET, load_flights
from sync_pipeline.settings import SOURCE_URL, Settings

CASE = "year_tracked"
_GOAL = 3.0
_PAIRS = 7
_DAYS = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]


def measure(settings: Settings, say: Say) -> Result:
    """Measure 365 days through the batch job against a bare loop over the same days."""
    source = settings.postgres_url(SOURCE_URL)
    load_flights(source)
    tracked, bare = _into(DATASET), _into("flights_bare")
    for dataset in (tracked, bare):
        make_target_table(settings, dataset)
    request = BatchRequest(DATASET, _DAYS[0], _DAYS[-1], resync=True)
    commands = []

    def through_the_batch_job() -> float:
        empty(settings, tracked)
        took = run_batch(settings, request)
        commands.append(took.command_seconds)
        return took.run_seconds

    def through_the_loop() -> float:
        empty(settings, bare)
        where = {"table": DATASET, "into": bare.target.table, "day_column": "flight_date"}
        return copy_days(source, settings.database_url, **where, days=_DAYS)

    pairs = measure_pairs(_PAIRS, through_the_batch_job, through_the_loop, say)
    command = {"command_seconds": round(median(commands), 3)}
    return Result(
        CASE,
        "365 days, 336,776 rows: the batch job's run, tracked",
        "a bare loop, one transaction a day",
        ratio(pairs),
        _GOAL,
        raw(pairs) | command,
    )


def _into(table: str) -> Dataset:
    """Return the dataset of the flights, with another target table."""
    return Dataset(
        name=table,
        start_date=_DAYS[0],
        source=PostgresSource(url_env=SOURCE_URL, table=DATASET, day_column="flight_date"),
        target=PostgresTarget(table=table),
    )
