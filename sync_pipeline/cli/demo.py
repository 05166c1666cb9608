"""`sync-pipeline demo`: the main job end to end, on real data, in databases of its own.

Two days alone, then a batch over ten (or all 365) that finds those two in already, launched
through Dagster's web server as a person would, with the record shown live; then target and source
are compared. It begins anew each time and touches nothing but its own two databases.
"""

import time
from contextlib import closing
from datetime import date, timedelta

import psycopg2
from psycopg2 import sql
from rich.console import Console

from sync_pipeline.cli.follow import follow
from sync_pipeline.cli.render import batch_bar, record_table
from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import StackError, SyncError, TargetError
from sync_pipeline.local import embedded_postgres
from sync_pipeline.local.demo_data import DATASET, load_flights
from sync_pipeline.local.stack import dagster_running, databases, server_running
from sync_pipeline.settings import (
    DAGSTER_STORAGE_URL,
    DATA_DIR,
    DATABASE_URL,
    SOURCE_URL,
    TRACKING_URL,
    Settings,
)
from sync_pipeline.tracking.models import BatchProgress

_FIRST = date(2013, 1, 1)
_TARGET = "sync_pipeline_demo"
_SOURCE = "sync_pipeline_demo_source"
_RUN_SECONDS = 300
_OVER = ("SUCCESS", "FAILURE", "CANCELED")

# Of each day: how many rows, and a sum over all of each row. Equal sums, equal rows.
_DAYS = """
SELECT flight_date, count(*), sum(hashtextextended(
    (carrier, flight, tailnum, origin, dest, dep_time, arr_time, dep_delay, arr_delay, air_time,
     distance, time_hour)::text, 0)::numeric)
FROM flights WHERE flight_date BETWEEN %s AND %s GROUP BY 1 ORDER BY 1
"""


def run_demo(given: Settings, console: Console, *, year: bool) -> bool:
    """Run the demo and say what happens; return whether all of it went as it should.

    Raises SyncError if something cannot be started.
    """
    last = date(2013, 12, 31) if year else date(2013, 1, 10)
    with server_running(given) as server, databases(_of_its_own(given, server)) as settings:
        source = settings.postgres_url(SOURCE_URL)
        loaded = load_flights(source)
        console.print(f"source: {loaded:,} flights loaded" if loaded else "source: flights are in")
        console.print("starting Dagster …")
        with dagster_running(settings, 0) as dagster:
            console.print(f"Dagster UI, for as long as this runs: {dagster.url}")
            _sync_alone(dagster, [_FIRST, _FIRST + timedelta(days=1)], console)
            batch = _sync_batch(dagster, settings, last, console)
        same = _compare(settings.database_url, source, last, console)
    days = (last - _FIRST).days + 1
    expected = (days - 2, 0, 2)
    counts = (batch.success_count, batch.failed_count, batch.skipped_count)
    return same and batch.status == "success" and counts == expected


def _of_its_own(given: Settings, server: str) -> Settings:
    """Return settings with the demo's own databases and folder; the target is made anew."""
    connection = connect(
        server, setting=DATABASE_URL, purpose="demo", error=TargetError, autocommit=True
    )
    with closing(connection), connection.cursor() as cursor:
        try:
            cursor.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_TARGET))
            )
        except psycopg2.Error as error:
            raise TargetError(f"cannot begin the demo anew: {error}") from error
    values = {
        name: value
        for name, value in given.environment.items()
        if name not in (TRACKING_URL, DAGSTER_STORAGE_URL, "SYNC_PROJECT_DIR", "DAGSTER_HOME")
    }
    values[DATABASE_URL] = embedded_postgres.ensure_database(server, _TARGET)
    values[SOURCE_URL] = embedded_postgres.ensure_database(server, _SOURCE)
    values[DATA_DIR] = str(given.data_dir / "demo")
    return Settings(values)


def _sync_alone(dagster: Dagster, days: list[date], console: Console) -> None:
    """Sync each of `days` by a run of its own, as a schedule or a click on a partition does."""
    console.print(f"syncing {days[0]} and {days[1]} alone, one run each …")
    runs = [
        dagster.launch_job(f"{DATASET}_daily_sync", tags={"dagster/partition": day.isoformat()})
        for day in days
    ]
    for run_id in runs:
        status = _wait_for(dagster, run_id)
        if status != "SUCCESS":
            raise StackError(f"run {run_id} ended {status}: see {dagster.url}/runs/{run_id}")


def _sync_batch(
    dagster: Dagster, settings: Settings, last: date, console: Console
) -> BatchProgress:
    """Run the batch job over the days up to `last`, show its record live, return its end."""
    console.print(f"batch {_FIRST} … {last}, days that are in already are skipped:")
    request = {"start_date": _FIRST.isoformat(), "end_date": last.isoformat()}
    run_id = dagster.launch_job("batch_backfill", config=request)
    seen = ""
    batch: BatchProgress | None = None
    with batch_bar(console) as bar:
        for batch in follow(settings, run_id, lambda: dagster.run_status(run_id) in _OVER):
            bar.show(batch)
            if batch.remarks != seen and (batch.total_days <= 10 or batch.status != "syncing"):
                console.print(f"  [dim]{batch.remarks}[/]")
                seen = batch.remarks
    if batch is None:
        raise StackError(f"run {run_id} has no record: see {settings.data_dir}/dagster.log")
    console.print(record_table(batch))
    return batch


def _wait_for(dagster: Dagster, run_id: str) -> str:
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        status = dagster.run_status(run_id)
        if status in _OVER:
            return status
        time.sleep(0.2)
    raise StackError(f"run {run_id} is not over after {_RUN_SECONDS} s: see {dagster.url}")


def _compare(target: str, source: str, last: date, console: Console) -> bool:
    found = []
    for url, setting in ((source, SOURCE_URL), (target, DATABASE_URL)):
        connection = connect(url, setting=setting, purpose="demo", error=SyncError, read_only=True)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(_DAYS, [_FIRST, last])
            found.append(cursor.fetchall())
    there, here = found
    rows = sum(row[1] for row in here)
    if there == here:
        console.print(f"[green]target equals source[/]: {len(here)} days, {rows:,} rows, each row")
    else:
        console.print(f"[red]target differs from source[/]: {len(set(there) ^ set(here))} days")
    return there == here
