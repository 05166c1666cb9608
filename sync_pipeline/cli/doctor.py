"""`sync-pipeline doctor`: is everything there that a sync needs, and if not, what to do.

Each check stands for itself: one that fails does not stop the ones after it, unless they need what
it looked for.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from rich.console import Console

from sync_pipeline.dagster_client.storage import connect_to_storage
from sync_pipeline.database.migrate import check_version
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.local import embedded_postgres
from sync_pipeline.local.stack import databases
from sync_pipeline.settings import DATABASE_URL, Settings, with_database

_HEARTBEAT_SECONDS = 120
_DEFINITIONS_SECONDS = 120

# Dagster's own table; its daemons each write their heartbeat into it.
_HEARTBEATS = """
SELECT daemon_type, extract(epoch FROM now()) - extract(epoch FROM timestamp AT TIME ZONE 'UTC')
FROM daemon_heartbeats ORDER BY daemon_type
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, and what was found or is to be done."""

    what: str
    well: bool
    said: str


def examine(given: Settings, console: Console) -> bool:
    """Print each finding as it is made; return whether all is well."""
    all_well = True
    for finding in _examine(given):
        mark = "[green]ok[/]  " if finding.well else "[red]FAIL[/]"
        console.print(f"{mark} {finding.what}: ", end="")
        console.print(finding.said, markup=False, highlight=False, soft_wrap=True)
        all_well = all_well and finding.well
    return all_well


def _examine(given: Settings) -> Iterator[Finding]:
    if given.environment.get(DATABASE_URL, "").strip():
        yield Finding("target", True, f"{DATABASE_URL} is set")
        version = _version(given)
        yield version
        if version.well:
            yield from _rest(given)
        return
    running = embedded_postgres.find_running(given.data_dir / "postgres")
    said = f"runs: {with_database(running, 'sync')}" if running else "is started when needed"
    yield Finding("target", True, f"{DATABASE_URL} is not set; the embedded PostgreSQL {said}")
    try:
        with databases(given, with_source=True) as settings:
            yield _version(settings)
            yield from _rest(settings)
    except SyncError as error:
        yield Finding("embedded PostgreSQL", False, one_line(error))


def _rest(settings: Settings) -> Iterator[Finding]:
    try:
        with databases(settings) as complete:
            yield from _definitions(complete)
            yield _daemon(complete)
    except SyncError as error:
        yield Finding("Dagster's storage", False, one_line(error))


def _version(settings: Settings) -> Finding:
    try:
        version = check_version(settings.tracking_url, settings.tracking_setting)
    except SyncError as error:
        return Finding("tracking tables", False, one_line(error))
    return Finding("tracking tables", True, f"at version {version}")


def _definitions(settings: Settings) -> Iterator[Finding]:
    """Load the definitions and open each dataset's source, in a process that imports dagster."""
    try:
        result = subprocess.run(
            [sys.executable, "-m", "sync_pipeline.orchestration.check_definitions"],
            env=dict(settings.environment),
            capture_output=True,
            text=True,
            timeout=_DEFINITIONS_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding("definitions", False, f"do not load within {_DEFINITIONS_SECONDS} s")
        return
    for line in result.stdout.splitlines():
        yield Finding(**json.loads(line))
    if result.returncode != 0:
        said = result.stderr.strip().splitlines()
        yield Finding("definitions", False, said[-1] if said else f"exit {result.returncode}")


def _daemon(settings: Settings) -> Finding:
    try:
        connection = connect_to_storage(settings, "doctor")
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(_HEARTBEATS)
            found = cursor.fetchall()
    except psycopg2.errors.UndefinedTable:  # Dagster has never run here
        found = []
    except (SyncError, psycopg2.Error) as error:
        return Finding("Dagster's storage", False, one_line(error))
    late = [name for name, age in found if age > _HEARTBEAT_SECONDS]
    if not found or len(late) == len(found):
        return Finding(
            "Dagster's daemon",
            False,
            "does not run, so schedules, sensors and backfills from the UI stand still; start it: "
            "sync-pipeline dev (or dagster-daemon run)",
        )
    return Finding("Dagster's daemon", True, f"{len(found) - len(late)} parts are at work")
