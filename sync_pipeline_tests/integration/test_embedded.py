"""The embedded PostgreSQL server, tested with real servers, client processes and signals."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg2
import pytest

from sync_pipeline.errors import EmbeddedPostgresError
from sync_pipeline.local.embedded_postgres import ensure_database, find_running, run_server
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

FAST = {"fsync": "off", "shared_buffers": "16MB"}
# Joins after reading a line, prints the URL, and leaves when its standard input is closed.
OWNER = """
import sys
from pathlib import Path
from sync_pipeline.local.embedded_postgres import run_server
sys.stdin.readline()
with run_server(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"}) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
# Joins and leaves repeatedly, so that some processes leave while others join.
VISITOR = """
import sys
from pathlib import Path
import psycopg2
from sync_pipeline.local.embedded_postgres import run_server
for visit in range(8):
    with run_server(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"}) as url:
        connection = psycopg2.connect(url)
        connection.cursor().execute("SELECT 1")
        connection.close()
"""


class Owner:
    """A process that uses the server in `folder`."""

    def __init__(self, folder: Path, script: str = OWNER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def join(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def url(self) -> str:
        """Wait until the process has joined; return the server's URL."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        """Close the process's input, and wait until the process has left and exited."""
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "postgres"


@pytest.fixture(autouse=True)
def _leave_no_server(tmp_path: Path) -> Iterator[None]:
    yield
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd().startswith(str(tmp_path)):
                process.kill()


@pytest.fixture
def new_owner(folder: Path) -> Iterator[Callable[..., Owner]]:
    owners: list[Owner] = []

    def make(script: str = OWNER) -> Owner:
        owners.append(Owner(folder, script))
        return owners[-1]

    yield make
    for owner in owners:
        owner.kill()


def execute(url: str, statement: str) -> object:
    """Execute a statement and commit; return the first value in its result, or None."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def postmaster(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split("\n")[0])


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_listens_on_a_unix_socket_only(folder: Path) -> None:
    with run_server(folder, settings=FAST) as url:
        assert url == f"postgresql://postgres@/postgres?host={folder}&port=5432"
        assert find_running(folder) == url
        assert str(execute(url, "SHOW server_version")).startswith("18.")
        assert execute(url, "SHOW listen_addresses") == ""
        assert execute(url, "SHOW TimeZone") == "UTC"
        assert execute(url, "SHOW max_connections") == "200"
        assert execute(url, "SHOW fsync") == "off"
        assert (folder / "log").stat().st_size > 0


def test_a_port_in_the_environment_is_ignored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5999")
    with run_server(folder, settings=FAST) as url:
        assert execute(ensure_database(url, "sync"), "SELECT current_database()") == "sync"


def test_it_writes_durably_by_default(folder: Path) -> None:
    with run_server(folder) as url:
        assert execute(url, "SHOW fsync") == "on"
        assert execute(url, "SHOW full_page_writes") == "on"


def test_it_stops_when_its_user_fails(folder: Path) -> None:
    pids = []

    def fail() -> None:
        with run_server(folder, settings=FAST):
            pids.append(postmaster(folder))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not is_alive(pids.pop())
    assert find_running(folder) is None


def test_it_stops_while_clients_are_connected(folder: Path) -> None:
    with run_server(folder, settings=FAST) as url:
        client = psycopg2.connect(url)
        pid = postmaster(folder)
    assert not is_alive(pid)
    client.close()


def test_signals_from_the_terminal_do_not_reach_it(folder: Path) -> None:
    with run_server(folder, settings=FAST):
        assert os.getsid(postmaster(folder)) != os.getsid(0)
        assert os.getpgid(postmaster(folder)) != os.getpgid(0)


def test_processes_share_it_until_the_last_one_leaves(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    first, second = new_owner(), new_owner()
    first.join()
    url = first.url()
    pid = postmaster(folder)
    second.join()
    assert second.url() == url

    first.leave()
    assert postmaster(folder) == pid
    assert execute(url, "SELECT 1") == 1

    second.leave()
    assert not is_alive(pid)


def test_it_can_be_joined_twice_in_one_process(folder: Path) -> None:
    with run_server(folder, settings=FAST) as url:
        pid = postmaster(folder)
        with run_server(folder) as second_url:
            assert second_url == url
        assert execute(url, "SELECT 1") == 1
    assert not is_alive(pid)


def test_processes_that_start_at_the_same_time_get_one_server(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owners = [new_owner() for _ in range(3)]
    for owner in owners:
        owner.join()
    urls = {owner.url() for owner in owners}
    assert len(urls) == 1
    pid = postmaster(folder)
    for owner in owners:
        assert execute(urls.copy().pop(), "SELECT 1") == 1
        owner.leave()
    assert not is_alive(pid)
    assert (folder / "log").read_text().count("ready to accept connections") == 1


def test_leaving_and_joining_at_the_same_time_disconnects_no_client(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    for visitor in [new_owner(VISITOR) for _ in range(3)]:
        visitor.leave()
    assert find_running(folder) is None


def test_the_last_user_does_not_stop_the_server_while_another_one_joins(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owner = new_owner()
    owner.join()
    url = owner.url()
    # Join as a process would: lock one file, then the other.
    with (
        (folder.parent / "postgres.users.lock").open("w") as users,
        (folder.parent / "postgres.start.lock").open("w") as start,
    ):
        fcntl.flock(start, fcntl.LOCK_EX)
        assert owner.process.stdin
        owner.process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            owner.process.wait(timeout=1)
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_UN)
        assert owner.process.wait(timeout=30) == 0
        assert execute(url, "SELECT 1") == 1


def test_a_server_that_is_killed_while_a_process_joins_is_restarted(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    first, second = new_owner(), new_owner()
    first.join()
    first.url()
    pid = postmaster(folder)
    os.kill(pid, signal.SIGSTOP)  # its status is still "ready", but it does not respond
    second.join()
    assert second.process.stdout
    assert select.select([second.process.stdout], [], [], 1.5)[0] == []
    os.kill(pid, signal.SIGKILL)
    assert execute(second.url(), "SELECT 1") == 1
    assert postmaster(folder) != pid


def test_the_server_of_a_killed_process_is_joined_and_then_stopped(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owner = new_owner()
    owner.join()
    owner.url()
    pid = postmaster(folder)
    owner.kill()
    assert is_alive(pid)

    with run_server(folder, settings=FAST) as url:
        assert postmaster(folder) == pid
        assert execute(url, "SELECT 1") == 1
    assert not is_alive(pid)


def test_committed_data_survives_if_user_and_server_are_killed(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owner = new_owner()
    owner.join()
    url = owner.url()
    execute(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    busy = psycopg2.connect(url)
    backend = busy.info.backend_pid
    # Suspend the backend; otherwise, it would notice that the server has died, and exit.
    os.kill(backend, signal.SIGSTOP)
    owner.kill()
    os.kill(postmaster(folder), signal.SIGKILL)

    with run_server(folder, settings=FAST) as url:
        assert execute(url, "SELECT count(*) FROM kept") == 1000
        assert not is_alive(backend)
    busy.close()


def test_an_unrelated_process_with_the_pid_of_a_dead_server_is_not_killed(folder: Path) -> None:
    with run_server(folder, settings=FAST) as url:
        execute(url, "CREATE TABLE kept ()")
        stale = (folder / "postmaster.pid").read_text().split("\n", 1)[1]
    user = folder.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "600"], user=user) as unrelated:
        try:
            for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                (folder / name).write_text(f"{unrelated.pid}\n{stale}")
            assert find_running(folder) is None
            with run_server(folder, settings=FAST) as url:
                assert execute(url, "SELECT count(*) FROM kept") == 0
                assert postmaster(folder) != unrelated.pid
            assert unrelated.poll() is None
        finally:
            unrelated.kill()


@pytest.mark.parametrize("content", ["", "no number\n"])
def test_a_damaged_pid_file_is_ignored(folder: Path, content: str) -> None:
    with run_server(folder, settings=FAST):
        pass
    (folder / "postmaster.pid").write_text(content)
    with run_server(folder, settings=FAST) as url:
        assert execute(url, "SELECT 1") == 1


def test_an_interrupted_initdb_is_repeated(folder: Path, new_owner: Callable[..., Owner]) -> None:
    owner = new_owner()
    owner.join()
    wait_until(lambda: any(folder.parent.glob("postgres.new-*/global")))
    owner.kill()
    assert not folder.exists()

    with run_server(folder, settings=FAST) as url:
        assert execute(url, "SELECT 1") == 1
    # The next start removes anything that the orphaned initdb wrote in the meantime.
    with run_server(folder, settings=FAST) as url:
        assert execute(url, "SELECT 1") == 1
        assert not list(folder.parent.glob("postgres.new-*"))


def test_a_socket_that_another_server_uses_is_not_replaced(folder: Path) -> None:
    with run_server(folder, settings=FAST):
        pass
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / ".s.PGSQL.5432"))
        other.listen()
        with pytest.raises(EmbeddedPostgresError, match="another container"), run_server(folder):
            pass
    assert not (folder / "postmaster.pid").exists()


def test_a_database_is_created_once_by_concurrent_calls(folder: Path) -> None:
    with run_server(folder, settings=FAST) as server_url:
        barrier = threading.Barrier(8)

        def create(_: int) -> str:
            barrier.wait(timeout=20)
            return ensure_database(server_url, "my data")

        with ThreadPoolExecutor(8) as pool:
            urls = set(pool.map(create, range(8)))
        assert len(urls) == 1
        assert execute(urls.pop(), "SELECT current_database()") == "my data"
        assert ensure_database(server_url, "my data").startswith("postgresql://")


def test_a_path_too_long_for_a_socket_gets_a_short_private_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20) / ("deeper" * 10) / "postgres"
    with run_server(deep, settings=FAST) as url:
        assert execute(url, "SELECT 1") == 1
        sockets = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert len(str(sockets)) < 60
        assert sockets.stat().st_mode & 0o777 == 0o700
        with run_server(deep) as second_url:
            assert second_url == url
    assert not sockets.exists()


@pytest.mark.parametrize("name", ["a $HOME 'b' \"c\" `d` %20+é", "one, two"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with run_server(tmp_path / name / "postgres", settings=FAST) as url:
        assert execute(url, "SHOW data_directory") == str(tmp_path / name / "postgres")


def test_a_folder_from_another_version_is_rejected(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError) as raised, run_server(folder):
        pass
    message = str(raised.value)
    assert str(folder) in message
    assert "PostgreSQL 16" in message
    assert "PostgreSQL 18" in message
    assert "move that folder to start with an empty database" in message
    assert [path.name for path in folder.iterdir()] == ["PG_VERSION"]


def test_a_folder_with_other_contents_is_not_changed(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(EmbeddedPostgresError, match="contains other files"), run_server(folder):
        pass
    assert (folder / "thesis.txt").read_text() == "irreplaceable"


def test_a_failed_start_gives_a_one_line_reason_and_the_log(folder: Path) -> None:
    with run_server(folder, settings=FAST):
        pass
    impossible = {"shared_preload_libraries": "no_such_library"}
    with pytest.raises(EmbeddedPostgresError) as raised, run_server(folder, settings=impossible):
        pass
    message = str(raised.value)
    assert "\n" not in message
    assert "no_such_library" in message
    assert str(folder / "log") in message
    assert find_running(folder) is None


def test_parent_folders_get_no_more_permissions_than_needed(folder: Path) -> None:
    parent = folder.parent
    parent.mkdir()
    parent.chmod(0o700)
    with run_server(folder, settings=FAST) as url:
        assert execute(url, "SELECT 1") == 1
        assert folder.stat().st_mode & 0o777 == 0o700
    assert parent.stat().st_mode & 0o777 == (0o701 if os.geteuid() == 0 else 0o700)
