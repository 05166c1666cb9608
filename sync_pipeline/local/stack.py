"""PostgreSQL and Dagster as this machine runs them: what the commands, tests and bench start.

`databases` completes the settings: an embedded PostgreSQL where no server is named, the tracking
tables migrated, a schema for Dagster. `dagster_running` adds the web server, the daemon and the
code server. Dagster does not outlive its owner, not even one that is killed (on Linux); a killed
owner leaves the embedded PostgreSQL to its next user (`embedded`).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.database.connections import connect
from sync_pipeline.database.migrate import migrate
from sync_pipeline.errors import StackError, TargetError, one_line
from sync_pipeline.local import embedded_postgres
from sync_pipeline.local.demo_data import load_flights
from sync_pipeline.local.processes import end_with_parent, free_port
from sync_pipeline.settings import (
    COMPUTE_LOG_DIR,
    DAGSTER_SCHEMA,
    DAGSTER_STORAGE_URL,
    DATA_DIR,
    DATABASE_URL,
    PROJECT_ROOT,
    SOURCE_URL,
    Settings,
)

DAGSTER_HOME = "DAGSTER_HOME"
_START_SECONDS = 120
_STOP_SECONDS = 70  # Dagster itself gives its children 60
_DAGSTER = (sys.executable, "-m", "dagster")
_READY = """{
  workspaceOrError { ... on Workspace { locationEntries { loadStatus
    locationOrLoadError { __typename ... on PythonError {
      message errorChain { error { message } } } } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""


@contextmanager
def server_running(given: Settings) -> Iterator[str]:
    """Yield the URL of a database on the server in use: the target's, or the embedded one's.

    Starts or joins the embedded PostgreSQL if `SYNC_DATABASE_URL` is not set, for as long as the
    block lasts. Raises EmbeddedPostgresError or SettingError.
    """
    if given.environment.get(DATABASE_URL, "").strip():
        yield given.database_url
    else:
        with embedded_postgres.running(given.data_dir / "postgres") as url:
            yield url


@contextmanager
def databases(given: Settings, *, with_source: bool = False) -> Iterator[Settings]:
    """Yield `given` made complete: every database there, the tracking tables at this version.

    On the embedded PostgreSQL the target is the database `sync`, and the source `source` unless
    `SYNC_SOURCE_URL` is set; `with_source` loads the demo's flights into it, unless the datasets
    are those of another project. Raises what `server_running` does, and SettingError,
    MigrationError, SourceError or TargetError.
    """
    given.lost_after_seconds  # noqa: B018  a wrong one is refused here, not in the middle of a run
    given.make_data_dir()
    with server_running(given) as server:
        values = dict(given.environment)
        if not values.get(DATABASE_URL, "").strip():
            values[DATABASE_URL] = embedded_postgres.ensure_database(server, "sync")
            if not values.get(SOURCE_URL, "").strip():
                values[SOURCE_URL] = embedded_postgres.ensure_database(server, "source")
                if with_source and given.project_dir == PROJECT_ROOT:
                    load_flights(values[SOURCE_URL])
        settings = Settings(values)
        if not values.get(DAGSTER_STORAGE_URL, "").strip():
            _make_schema(settings)
        values[DAGSTER_STORAGE_URL] = settings.dagster_storage_url
        values[DATA_DIR] = str(settings.data_dir)
        values[COMPUTE_LOG_DIR] = values.get(COMPUTE_LOG_DIR) or str(
            settings.data_dir / "compute_logs"
        )
        # By default a sensor looks at five ended runs a tick; a backfill may end more at once.
        values.setdefault("DAGSTER_RUN_STATUS_SENSOR_PROCESS_LIMIT", "50")
        values[DAGSTER_HOME] = values.get(DAGSTER_HOME) or str(_make_dagster_home(settings))
        migrate(settings.tracking_url, settings.tracking_setting)
        yield Settings(values)


@dataclass(frozen=True)
class RunningDagster(Dagster):
    """A Dagster of our own: the process that owns its others, and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def dagster_running(
    settings: Settings, port: int, dagster: Sequence[str] = _DAGSTER
) -> Iterator[RunningDagster]:
    """Run Dagster on loopback for as long as the block lasts; yield it when all of it is ready.

    `settings` come from `databases`. Port 0 takes a free one. `dagster` is the command that
    starts it, before `dev`. Raises StackError if the port is
    taken, if it does not start, or if the definitions do not load, with what Dagster says.
    """
    port = free_port(port)
    log = settings.data_dir / "dagster.log"
    command = (*dagster, "dev", "--log-level", "warning")
    address = ("--host", "127.0.0.1", "--port", str(port))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, *address, "--workspace", str(PROJECT_ROOT / "workspace.yaml")],
            cwd=settings.environment[DAGSTER_HOME],
            env=dict(settings.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a terminal's Ctrl-C is for us; we then stop it in order
            preexec_fn=end_with_parent(signal.SIGINT),
        )
    try:
        running = RunningDagster(f"http://127.0.0.1:{port}", process, log)
        _wait_until_ready(running)
        yield running
    finally:
        _stop(process)


def _make_dagster_home(settings: Settings) -> Path:
    """Return a folder for what Dagster writes beside its storage, with our dagster.yaml in it."""
    home = settings.data_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    link = home / "dagster.yaml"
    if not link.is_symlink() or link.readlink() != PROJECT_ROOT / link.name:
        link.unlink(missing_ok=True)
        with suppress(FileExistsError):  # another process has just made it
            link.symlink_to(PROJECT_ROOT / link.name)
    return home


def _make_schema(settings: Settings) -> None:
    connection = connect(
        settings.database_url,
        setting=DATABASE_URL,
        purpose="make Dagster's schema",
        error=TargetError,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        # Looked for first: a user who may not create schemas may well have been given this one.
        cursor.execute("SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s", [DAGSTER_SCHEMA])
        if cursor.rowcount:
            return
        name = sql.Identifier(DAGSTER_SCHEMA)
        try:
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        except psycopg2.errors.UniqueViolation:
            pass  # another process has just made it
        except psycopg2.Error as error:
            raise TargetError(
                f"cannot make the schema {DAGSTER_SCHEMA} in the database of {DATABASE_URL}: "
                f"{one_line(error)}; have its owner run: CREATE SCHEMA {DAGSTER_SCHEMA} "
                f"AUTHORIZATION {connection.info.user}, or set {DAGSTER_STORAGE_URL}"
            ) from error


def _wait_until_ready(dagster: RunningDagster) -> None:
    deadline = time.monotonic() + _START_SECONDS
    missing = "it was not asked yet"
    while time.monotonic() < deadline:
        if dagster.process.poll() is not None:
            raise StackError(f"Dagster did not start; the end of {dagster.log} says why")
        try:
            state = dagster.graphql(_READY)
        except StackError as error:
            missing = one_line(error)
        else:
            missing = _what_is_missing(state)
            if not missing:
                return
        time.sleep(0.2)
    raise StackError(f"Dagster is not ready after {_START_SECONDS} s: {missing} ({dagster.log})")


def _what_is_missing(state: dict[str, Any]) -> str:
    for entry in state["workspaceOrError"].get("locationEntries", []):
        found = entry["locationOrLoadError"] or {}
        if found.get("__typename") == "PythonError":
            chain = [found, *(link["error"] for link in found["errorChain"])]
            raise StackError(f"the definitions do not load: {chain[-1]['message']}")
        if entry["loadStatus"] != "LOADED":
            return "the definitions are still loading"
    daemons = state["instance"]["daemonHealth"]["allDaemonStatuses"]
    unhealthy = [d["daemonType"] for d in daemons if d["required"] and not d["healthy"]]
    return f"waiting for the daemons {', '.join(unhealthy)}" if unhealthy else ""


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for sign, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGTERM, 5)):
        if process.poll() is not None:
            return
        process.send_signal(sign)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
