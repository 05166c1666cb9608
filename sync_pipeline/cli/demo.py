"""`sync-pipeline demo`: a demonstration with real data, in separate databases.

Syncs two single days, then a batch of 10 (or all 365) days that skips those two, and shows the
record as it is updated. Finally, it compares the target with the source. All runs are launched
through Dagster's webserver. The demo starts from scratch each time and uses only its own two
databases. Does not contain the data: see `local/demo_data.py`.
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
from sync_pipeline.local.stack import prepare_databases, run_dagster, use_server
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
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")

# Each day's row count, and a checksum of its rows.
_DAYS = """
SELECT flight_date, count(*), sum(hashtextextended(
    (carrier, flight, tailnum, origin, dest, dep_time, arr_time, dep_delay, arr_delay, air_time,
     distance, time_hour)::text, 0)::numeric)
FROM flights WHERE flight_date BETWEEN %s AND %s GROUP BY 1 ORDER BY 1
"""


def run_demo(settings: Settings, console: Console, *, year: bool) -> bool:
    """Run the demo and print what happens; return whether it succeeded.

    Raises SyncError if a database or Dagster cannot be started, or if a single-day run fails.
    """
    last = date(2013, 12, 31) if year else date(2013, 1, 10)
    with (
        use_server(settings) as server,
        prepare_databases(_separate(settings, server)) as complete,
    ):
        source = complete.postgres_url(SOURCE_URL)
        loaded = load_flights(source)
        console.print(
            f"source: {loaded:,} flights loaded" if loaded else "source: flights already loaded"
        )
        console.print("starting Dagster …")
        with run_dagster(complete, 0) as dagster:
            console.print(f"Dagster UI, while the demo runs: {dagster.url}")
            _sync_single_days(dagster, [_FIRST, _FIRST + timedelta(days=1)], console)
            batch = _sync_batch(dagster, complete, last, console)
        same = _compare(complete.database_url, source, last, console)
    days = (last - _FIRST).days + 1
    expected = (days - 2, 0, 2)
    counts = (batch.success_count, batch.failed_count, batch.skipped_count)
    return same and batch.status == "success" and counts == expected


def _separate(settings: Settings, server: str) -> Settings:
    """Create the demo's databases, with an empty target; return settings that use them."""
    connection = connect(
        server, setting=DATABASE_URL, purpose="demo", error=TargetError, autocommit=True
    )
    with closing(connection), connection.cursor() as cursor:
        try:
            cursor.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_TARGET))
            )
        except psycopg2.Error as error:
            raise TargetError(
                f"cannot drop the database {_TARGET} from an earlier demo: {error}"
            ) from error
    values = {
        name: value
        for name, value in settings.environment.items()
        if name not in (TRACKING_URL, DAGSTER_STORAGE_URL, "SYNC_PROJECT_DIR", "DAGSTER_HOME")
    }
    values[DATABASE_URL] = embedded_postgres.ensure_database(server, _TARGET)
    values[SOURCE_URL] = embedded_postgres.ensure_database(server, _SOURCE)
    values[DATA_DIR] = str(settings.data_dir / "demo")
    return Settings(values)


def _sync_single_days(dagster: Dagster, days: list[date], console: Console) -> None:
    """Sync each of `days` in a separate run, as a schedule or a click on a partition would."""
    console.print(f"syncing {days[0]} and {days[1]}, one run each …")
    runs = [
        dagster.launch_job(f"{DATASET}_daily_sync", tags={"dagster/partition": day.isoformat()})
        for day in days
    ]
    for run_id in runs:
        status = _wait_for(dagster, run_id)
        if status != "SUCCESS":
            raise StackError(
                f"run {run_id} ended with status {status}: see {dagster.url}/runs/{run_id}"
            )


def _sync_batch(
    dagster: Dagster, settings: Settings, last: date, console: Console
) -> BatchProgress:
    """Run the batch job for the days up to `last`, show its progress and return its record."""
    console.print(f"batch {_FIRST} … {last}; days that are already synced are skipped:")
    request = {"start_date": _FIRST.isoformat(), "end_date": last.isoformat()}
    run_id = dagster.launch_job("batch_backfill", config=request)
    printed = ""
    batch: BatchProgress | None = None
    with batch_bar(console) as bar:
        for batch in follow(settings, run_id, lambda: dagster.run_status(run_id) in _ENDED):
            bar.show(batch)
            if batch.remarks != printed and (batch.total_days <= 10 or batch.status != "syncing"):
                console.print(f"  [dim]{batch.remarks}[/]")
                printed = batch.remarks
    if batch is None:
        raise StackError(f"run {run_id} has no record: see {settings.data_dir}/dagster.log")
    console.print(record_table(batch))
    return batch


def _wait_for(dagster: Dagster, run_id: str) -> str:
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        status = dagster.run_status(run_id)
        if status in _ENDED:
            return status
        time.sleep(0.2)
    raise StackError(f"run {run_id} did not end within {_RUN_SECONDS} s: see {dagster.url}")


def _compare(target: str, source: str, last: date, console: Console) -> bool:
    found = []
    for url, setting in ((source, SOURCE_URL), (target, DATABASE_URL)):
        connection = connect(url, setting=setting, purpose="demo", error=SyncError, read_only=True)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(_DAYS, [_FIRST, last])
            found.append(cursor.fetchall())
    source_days, target_days = found
    rows = sum(row[1] for row in target_days)
    if source_days == target_days:
        console.print(f"[green]target equals source[/]: {len(target_days)} days, {rows:,} rows")
    else:
        different = len(set(source_days) ^ set(target_days))
        console.print(f"[red]target differs from source[/]: {different} days")
    return source_days == target_days
