"""`sync-pipeline doctor`: checks everything that a sync needs, and prints how to fix each problem.

If a check fails, all checks that do not depend on it still run. Does not load the definitions
itself: see `orchestration/check_definitions.py`.
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
from sync_pipeline.local.stack import prepare_databases
from sync_pipeline.settings import DATABASE_URL, Settings, with_database

_HEARTBEAT_SECONDS = 120
_DEFINITIONS_SECONDS = 120

# The table in Dagster's storage to which each daemon writes its heartbeat.
_HEARTBEATS = """
SELECT daemon_type, extract(epoch FROM now()) - extract(epoch FROM timestamp AT TIME ZONE 'UTC')
FROM daemon_heartbeats ORDER BY daemon_type
"""


@dataclass(frozen=True)
class Finding:
    """The result of a check: what was checked, whether it is ok, and what was found."""

    what: str
    ok: bool
    message: str


def run_checks(settings: Settings, console: Console) -> bool:
    """Run all checks and print their results; return whether all are ok."""
    all_ok = True
    for finding in _check_all(settings):
        mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]"
        console.print(f"{mark} {finding.what}: ", end="")
        console.print(finding.message, markup=False, highlight=False, soft_wrap=True)
        all_ok = all_ok and finding.ok
    return all_ok


def _check_all(settings: Settings) -> Iterator[Finding]:
    if settings.environment.get(DATABASE_URL, "").strip():
        yield Finding("target", True, f"{DATABASE_URL} is set")
        version = _check_version(settings)
        yield version
        if version.ok:
            yield from _check_rest(settings)
        return
    running = embedded_postgres.find_running(settings.data_dir / "postgres")
    state = (
        f"is running: {with_database(running, 'sync')}"
        if running
        else "will be started when it is needed"
    )
    yield Finding("target", True, f"{DATABASE_URL} is not set; the embedded PostgreSQL {state}")
    try:
        with prepare_databases(settings, with_source=True) as complete:
            yield _check_version(complete)
            yield from _check_rest(complete)
    except SyncError as error:
        yield Finding("embedded PostgreSQL", False, one_line(error))


def _check_rest(settings: Settings) -> Iterator[Finding]:
    try:
        with prepare_databases(settings) as complete:
            yield from _check_definitions(complete)
            yield _check_daemon(complete)
    except SyncError as error:
        yield Finding("Dagster's storage", False, one_line(error))


def _check_version(settings: Settings) -> Finding:
    try:
        version = check_version(settings.tracking_url, settings.tracking_setting)
    except SyncError as error:
        return Finding("tracking tables", False, one_line(error))
    return Finding("tracking tables", True, f"at version {version}")


def _check_definitions(settings: Settings) -> Iterator[Finding]:
    """Load the definitions and open all sources and targets, in a process that imports dagster."""
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
        yield Finding("definitions", False, f"not loaded within {_DEFINITIONS_SECONDS} s")
        return
    for line in result.stdout.splitlines():
        yield Finding(**json.loads(line))
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines()
        message = lines[-1] if lines else f"the process exited with code {result.returncode}"
        yield Finding("definitions", False, message)


def _check_daemon(settings: Settings) -> Finding:
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
            "is not running, so schedules, sensors and backfills from the UI do not run; start it: "
            "sync-pipeline dev (or dagster-daemon run)",
        )
    return Finding("Dagster's daemon", True, f"{len(found) - len(late)} daemons are running")
