"""The same year as in `year_tracked`, with three days in parallel, compared with other tools.

Our side includes everything: 365 transactions with records, checks and Dagster's events.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path

from bench import peers
from bench.bare_loop import copy_days
from bench.batch import run_batch
from bench.pairs import measure_pairs, ratio, raw
from bench.project import create_project
from bench.results import Log, Result
from bench.stack import empty, make_target_table, query_one, run_sql
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.config.dataset import Dataset, PostgresTarget
from sync_pipeline.config.sources import PostgresSource
from sync_pipeline.errors import StackError
from sync_pipeline.local.demo_data import DATASET, load_flights
from sync_pipeline.settings import SOURCE_URL, Settings

YEAR_VS_BARE = "year_vs_bare"
YEAR_VS_DLT = "year_vs_dlt"
YEAR_VS_SLING = "year_vs_sling"
YEAR_VS_RUN_PER_DAY = "year_vs_run_per_day"
PARALLEL_DAYS = 3
_DAYS = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]
_RUNS = 10
_BARE = "flights_bare"
_ROWS = 336_776
_Operation = Callable[[], float]


def against_bare(settings: Settings, log: Log) -> Result:
    """Compare a batch of 365 days with a bare loop over the same days."""

    def make(source: str, target: str) -> _Operation:
        bare = _dataset(_BARE)
        make_target_table(settings, bare)

        def copy() -> float:
            empty(settings, bare)
            where = {"table": DATASET, "into": _BARE, "day_column": "flight_date"}
            return copy_days(source, target, **where, days=_DAYS)

        return copy

    return _measure(
        settings, log, YEAR_VS_BARE, "a bare loop, one transaction per day", 1.0, make, pairs=7
    )


def against_dlt(settings: Settings, log: Log) -> Result:
    """Compare 365 days with dlt, which copies the whole table at once and does not track days."""

    def make(source: str, target: str) -> _Operation:
        command = [peers.python(), peers.DLT, source, target, DATASET]

        def copy() -> float:
            _, printed = peers.run(command)
            _check(target, "bench_dlt.flights", "DROP SCHEMA bench_dlt CASCADE")
            return float(printed)

        return copy

    return _measure(settings, log, YEAR_VS_DLT, "dlt, the whole table at once", 1.0, make)


def against_sling(settings: Settings, log: Log) -> Result:
    """Compare 365 days with sling, which copies the whole table at once and does not track days."""

    def make(source: str, target: str) -> _Operation:
        into = "public.flights_sling"
        command = [peers.sling(), "run", "--src-conn", source, "--src-stream", f"public.{DATASET}"]
        command += ["--tgt-conn", target, "--tgt-object", into, "--mode", "full-refresh"]

        def copy() -> float:
            seconds, _ = peers.run(command)
            _check(target, into, f"DROP TABLE {into}")
            return seconds

        return copy

    return _measure(settings, log, YEAR_VS_SLING, "sling, the whole table at once", 1.0, make)


def against_a_run_per_day(settings: Settings, log: Log) -> Result:
    """Compare a batch of 365 days with one Dagster run per day (ten days, scaled to 365)."""

    def make(source: str, target: str) -> _Operation:
        dagster = str(Path(sys.executable).parent / "dagster")
        command = [dagster, "asset", "materialize", "--select", DATASET]
        command += ["-m", "sync_pipeline.definitions", "--partition"]

        def run_each() -> float:
            seconds = 0.0
            for day in _DAYS[:_RUNS]:
                seconds += peers.run([*command, day.isoformat()], settings.environment)[0]
            return seconds / _RUNS * len(_DAYS)

        return run_each

    return _measure(
        settings, log, YEAR_VS_RUN_PER_DAY, "one Dagster run per day, ten days scaled", 0.1, make
    )


def _measure(
    settings: Settings,
    log: Log,
    case: str,
    against: str,
    goal: float,
    make: Callable[[str, str], _Operation],
    pairs: int = 3,
) -> Result:
    source, target = settings.postgres_url(SOURCE_URL), settings.database_url
    load_flights(source)
    ours = _dataset("flights_in_parallel", parallel_days=PARALLEL_DAYS)
    make_target_table(settings, ours)
    request = BatchRequest(ours.name, _DAYS[0], _DAYS[-1], resync=True)
    with ExitStack() as stack:
        project = stack.enter_context(create_project([ours], settings))

        def with_batch_job() -> float:
            empty(settings, ours)
            return run_batch(project, request).run_seconds

        measured = measure_pairs(pairs, with_batch_job, make(source, target), log)
    return Result(
        case,
        "365 days, 336,776 rows: the batch job's run, with tracking, "
        f"{PARALLEL_DAYS} days in parallel",
        against,
        ratio(measured),
        goal,
        raw(measured),
    )


def _dataset(table: str, **others: int) -> Dataset:
    return Dataset(
        name=table,
        start_date=_DAYS[0],
        source=PostgresSource(url_env=SOURCE_URL, table=DATASET, day_column="flight_date"),
        target=PostgresTarget(table=table),
        **others,
    )


def _check(target: str, table: str, clear: str) -> None:
    """Check that a peer copied all rows, then run the statement `clear`.

    Raises StackError if the number of rows is wrong.
    """
    found = query_one(target, f"SELECT count(*) FROM {table}", [])
    if found != (_ROWS,):
        raise StackError(f"{table} has {found[0]} rows, expected {_ROWS}")
    run_sql(target, clear)
