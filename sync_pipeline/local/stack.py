"""Start PostgreSQL and Dagster on this machine, for the commands, the tests and the benchmarks.

`prepare_databases` starts an embedded PostgreSQL if no server is set, migrates the tracking tables
and creates a schema for Dagster. `run_dagster` starts the webserver, the daemon and the code
server. On Linux, Dagster stops when its parent process is killed. The embedded PostgreSQL keeps
running until its next user stops it (see `embedded_postgres.py`).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
_STOP_SECONDS = 70  # Dagster itself waits 60 s for its children
_DAGSTER = (sys.executable, "-m", "sync_pipeline.orchestration.dagster")
_WORKSPACE = ("--workspace", str(PROJECT_ROOT / "workspace.yaml"))
_READY = """{
  workspaceOrError { ... on Workspace { locationEntries { loadStatus
    locationOrLoadError { __typename ... on PythonError {
      message errorChain { error { message } } } } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""


@contextmanager
def use_server(settings: Settings) -> Iterator[str]:
    """Yield the URL of a database on the target server.

    If `SYNC_DATABASE_URL` is not set, that server is the embedded PostgreSQL, which runs at least
    until the block ends. Raises EmbeddedPostgresError or SettingError.
    """
    if settings.environment.get(DATABASE_URL, "").strip():
        yield settings.database_url
    else:
        with embedded_postgres.run_server(settings.data_dir / "postgres") as url:
            yield url


@contextmanager
def prepare_databases(settings: Settings, *, with_source: bool = False) -> Iterator[Settings]:
    """Create the databases and migrate the tracking tables; yield the complete settings.

    On the embedded PostgreSQL, the target is the database `sync` and, unless `SYNC_SOURCE_URL` is
    set, the source is the database `source`. With `with_source`, the demo data is loaded into that
    database, unless the datasets belong to another project. Raises EmbeddedPostgresError,
    SettingError, MigrationError, SourceError or TargetError.
    """
    settings.lost_after_seconds  # noqa: B018  raises SettingError here, instead of during a run
    settings.make_data_dir()
    with use_server(settings) as server:
        values = dict(settings.environment)
        if not values.get(DATABASE_URL, "").strip():
            values[DATABASE_URL] = embedded_postgres.ensure_database(server, "sync")
            if not values.get(SOURCE_URL, "").strip():
                values[SOURCE_URL] = embedded_postgres.ensure_database(server, "source")
                if with_source and settings.project_dir == PROJECT_ROOT:
                    load_flights(values[SOURCE_URL])
        complete = Settings(values)
        if not values.get(DAGSTER_STORAGE_URL, "").strip():
            _create_schema(complete)
        values[DAGSTER_STORAGE_URL] = complete.dagster_storage_url
        values[DATA_DIR] = str(complete.data_dir)
        values[COMPUTE_LOG_DIR] = values.get(COMPUTE_LOG_DIR) or str(
            complete.data_dir / "compute_logs"
        )
        # By default, a sensor processes five finished runs per tick; more may finish in a backfill.
        values.setdefault("DAGSTER_RUN_STATUS_SENSOR_PROCESS_LIMIT", "50")
        values[DAGSTER_HOME] = values.get(DAGSTER_HOME) or str(_create_dagster_home(complete))
        migrate(complete.tracking_url, complete.tracking_setting)
        yield Settings(values)


@dataclass(frozen=True)
class RunningDagster(Dagster):
    """A Dagster instance that this process started: its main process and its log file."""

    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def run_dagster(settings: Settings, port: int) -> Iterator[RunningDagster]:
    """Run Dagster on loopback while the block runs; yield it when it is ready.

    `settings` come from `prepare_databases`. Port 0 selects a free port. Raises SettingError, or
    StackError if the port is in use, Dagster does not start, or the definitions cannot be loaded.
    """
    _check_dagster_settings(settings)
    port = free_port(port)
    log = settings.data_dir / "dagster.log"
    address = ("--host", "127.0.0.1", "--port", str(port))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_DAGSTER, "dev", "--log-level", "warning", *address, *_WORKSPACE],
            cwd=settings.environment[DAGSTER_HOME],
            env=dict(settings.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches only this process, which stops Dagster
            preexec_fn=end_with_parent(signal.SIGINT),
        )
    try:
        running = RunningDagster(f"http://127.0.0.1:{port}", process, log)
        _wait_until_ready(running)
        yield running
    finally:
        _stop(process)


@contextmanager
def run_daemon(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Dagster's daemon while the block runs. `settings` come from `prepare_databases`.

    Raises SettingError.
    """
    _check_dagster_settings(settings)
    process = subprocess.Popen(
        [*_DAGSTER, "daemon", *_WORKSPACE],
        env=dict(settings.environment),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches only this process, which stops the daemon
        preexec_fn=end_with_parent(signal.SIGINT),
    )
    try:
        yield process
    finally:
        _stop(process)


def _check_dagster_settings(settings: Settings) -> None:
    """Raise SettingError for a setting that Dagster's processes would reject."""
    settings.backfill_interval_seconds  # noqa: B018
    settings.fork_runs  # noqa: B018


def _create_dagster_home(settings: Settings) -> Path:
    """Create DAGSTER_HOME, a folder with a link to this project's dagster.yaml; return its path."""
    home = settings.data_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    link = home / "dagster.yaml"
    if not link.is_symlink() or link.readlink() != PROJECT_ROOT / link.name:
        link.unlink(missing_ok=True)
        with suppress(FileExistsError):  # another process has just created it
            link.symlink_to(PROJECT_ROOT / link.name)
    return home


def _create_schema(settings: Settings) -> None:
    connection = connect(
        settings.database_url,
        setting=DATABASE_URL,
        purpose="create Dagster's schema",
        error=TargetError,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        # Check first, because the schema may exist even if this user cannot create schemas.
        cursor.execute("SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s", [DAGSTER_SCHEMA])
        if cursor.rowcount:
            return
        name = sql.Identifier(DAGSTER_SCHEMA)
        try:
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        except psycopg2.errors.UniqueViolation:
            pass  # another process has just created it
        except psycopg2.Error as error:
            raise TargetError(
                f"cannot create the schema {DAGSTER_SCHEMA} in the database in {DATABASE_URL}: "
                f"{one_line(error)}; ask its owner to run: CREATE SCHEMA {DAGSTER_SCHEMA} "
                f"AUTHORIZATION {connection.info.user}, or set {DAGSTER_STORAGE_URL}"
            ) from error


def _wait_until_ready(dagster: RunningDagster) -> None:
    deadline = time.monotonic() + _START_SECONDS
    missing = "it has not been checked yet"
    while time.monotonic() < deadline:
        if dagster.process.poll() is not None:
            raise StackError(f"Dagster did not start; see the end of {dagster.log}")
        try:
            state = dagster.graphql(_READY)
        except StackError as error:
            missing = one_line(error)
        else:
            missing = _check_state(state)
            if not missing:
                return
        time.sleep(0.2)
    raise StackError(f"Dagster is not ready after {_START_SECONDS} s: {missing} ({dagster.log})")


def _check_state(state: dict[str, Any]) -> str:
    """Return why Dagster is not ready yet, or "" if it is ready."""
    for entry in state["workspaceOrError"].get("locationEntries", []):
        found = entry["locationOrLoadError"] or {}
        if found.get("__typename") == "PythonError":
            chain = [found, *(link["error"] for link in found["errorChain"])]
            raise StackError(f"the definitions cannot be loaded: {chain[-1]['message']}")
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
