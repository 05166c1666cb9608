"""`sync-pipeline dev` runs everything until it is stopped, and leaves nothing running."""

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest

from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.local.processes import end_with_parent
from sync_pipeline.local.stack import prepare_databases
from sync_pipeline.settings import Settings
from sync_pipeline_tests import command
from sync_pipeline_tests.integration.api.client import LAUNCH, Client
from sync_pipeline_tests.waiting import TIMEOUT_SECONDS, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Running:
    """The running command, which uses an embedded PostgreSQL and free ports."""

    process: "subprocess.Popen[str]"
    settings: dict[str, str]
    folder: Path
    port: int
    page: str
    postgres: str

    @property
    def processes(self) -> list[psutil.Process]:
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]


@pytest.fixture
def interrupts_ignored() -> Iterator[None]:
    """Make new processes ignore interrupts, as a shell's background jobs do."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def dev(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The running command, in a forked process unless the fixture's parameter is "script"."""
    script = getattr(request, "param", "") == "script"
    with command.folder_for_postgres() as folder:
        settings = {"SYNC_DATA_DIR": str(folder), "HOME": str(folder)}
        with command.started(
            settings, "dev", "--port", "0", "--page-port", "0", script=script
        ) as process:
            assert process.stdout is not None
            page = postgres = ""
            for line in process.stdout:
                if line.startswith("PostgreSQL: "):
                    postgres = line.split()[1]
                if line.startswith("page: "):
                    page = line.split()[1]
                found = re.search(r"Dagster UI: http://127\.0\.0\.1:(\d+) ", line)
                if found:
                    yield Running(process, settings, folder, int(found[1]), page, postgres)
                    break
            else:
                raise AssertionError("the command ended before it was ready")


@pytest.mark.parametrize("dev", ["script"], indirect=True)
def test_everything_runs_until_it_is_stopped(dev: Running) -> None:
    checked = command.run(dev.settings, "doctor")
    assert (checked.code, checked.errors) == (0, "")
    assert f"the embedded PostgreSQL is running: {dev.postgres}" in checked.out
    occupied = command.run(dev.settings, "dev", "--port", dev.port, "--page-port", 0)
    assert occupied.code == 3
    assert re.fullmatch(
        rf"sync-pipeline: port {dev.port} cannot be used: .* or choose another port with --port\n",
        occupied.errors,
    )
    synced = command.run(dev.settings, "backfill", "flights", "2013-01-01", "2013-01-03")
    assert (synced.code, synced.errors) == (0, "")
    with closing(psycopg2.connect(dev.postgres)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status, total_days FROM daily_sync_status WHERE kind = 'batch'")
        assert cursor.fetchall() == [("success", 3)]
    with urllib.request.urlopen(dev.page) as answer:  # noqa: S310  http
        assert answer.headers["content-type"].startswith("text/html")
    dagster = Dagster(f"http://127.0.0.1:{dev.port}")
    query = "{ runsOrError { ... on Runs { results { jobName status } } } }"
    runs = dagster.graphql(query)["runsOrError"]["results"]
    assert runs == [{"jobName": "batch_backfill", "status": "SUCCESS"}]
    api = Client(dev.page.removesuffix("/sync-status"))
    launched = api.post(LAUNCH, {"start_date": "2013-01-04", "end_date": "2013-01-04"}).data
    assert api.wait_for(launched["record_id"], "success", "failed")["status"] == "success"

    before = dev.processes
    dev.process.send_signal(signal.SIGINT)
    ended = command.end_of(dev.process)
    assert (ended.code, ended.errors) == (0, "")
    _, left = psutil.wait_procs(before, timeout=TIMEOUT_SECONDS)
    assert left == []
    assert not (dev.folder / "postgres" / "postmaster.pid").exists()


def test_nothing_is_left_running_when_it_is_killed(dev: Running) -> None:
    children = dev.processes[1:]
    dev.process.kill()
    _, left = psutil.wait_procs(children, timeout=TIMEOUT_SECONDS)
    assert left == []
    # PostgreSQL keeps running for the next command, which stops it.
    assert (dev.folder / "postgres" / "postmaster.pid").exists()
    assert command.run(dev.settings, "status").code == 0
    assert not (dev.folder / "postgres" / "postmaster.pid").exists()


def test_it_ends_with_a_one_line_error_if_one_of_its_processes_stops(dev: Running) -> None:
    port = urlsplit(dev.page).port
    (api,) = [one for one in dev.processes if port in listening(one)]
    api.kill()
    ended = command.end_of(dev.process)
    assert ended.code == 3
    assert ended.errors.startswith("sync-pipeline: the API stopped unexpectedly; see the end of ")
    assert ended.errors.count("\n") == 1


@pytest.mark.usefixtures("interrupts_ignored")
def test_dagster_handles_an_interrupt_even_if_its_parent_ignores_it() -> None:
    script = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    said = subprocess.run(
        [sys.executable, "-c", script],
        preexec_fn=end_with_parent(signal.SIGINT),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert said.stdout == b"True\n"


def test_the_flights_are_not_loaded_for_a_users_project(tmp_path: Path) -> None:
    with command.folder_for_postgres() as folder:
        given = Settings({"SYNC_DATA_DIR": str(folder), "SYNC_PROJECT_DIR": str(tmp_path)})
        with (
            prepare_databases(given, with_source=True) as settings,
            closing(psycopg2.connect(settings.postgres_url("SYNC_SOURCE_URL"))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT to_regclass('flights')")
            assert cursor.fetchall() == [(None,)]


def test_the_daemon_command_runs_dagsters_daemon_until_it_is_stopped(
    environment: dict[str, str],
) -> None:
    living = "SELECT count(*) FROM dagster.daemon_heartbeats WHERE daemon_type = 'BACKFILL'"
    with command.started(environment, "daemon", script=True) as process:
        wait_until(lambda: rows(environment["SYNC_DATABASE_URL"], living) == [(1,)])
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert command.end_of(process).code == 0
        _, left = psutil.wait_procs(children, timeout=TIMEOUT_SECONDS)
        assert left == []


def test_the_daemon_command_rejects_an_invalid_interval(environment: dict[str, str]) -> None:
    ended = command.run(environment, "daemon", SYNC_BACKFILL_INTERVAL_SECONDS="soon")
    assert (ended.code, ended.out) == (2, "")
    assert ended.errors == (
        "sync-pipeline: SYNC_BACKFILL_INTERVAL_SECONDS is 'soon'; "
        "set it to a number of seconds from 1 to 3600\n"
    )


def listening(process: psutil.Process) -> list[int]:
    """Return the TCP ports on which a process listens."""
    opened = process.net_connections("tcp")
    return [one.laddr.port for one in opened if one.status == psutil.CONN_LISTEN]


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of a query, or nothing while its table does not exist."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(statement)
        except psycopg2.errors.UndefinedTable:
            return []
        return cursor.fetchall()
