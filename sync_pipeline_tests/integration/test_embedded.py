"""The embedded PostgreSQL: real servers, real owners in processes of their own, real signals."""

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
from sync_pipeline.local.embedded_postgres import ensure_database, find_running, running
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

FAST = {"fsync": "off", "shared_buffers": "16MB"}
# Enters when a line comes, says so, and leaves when its standard input ends.
OWNER = """
import sys
from pathlib import Path
from sync_pipeline.embedded import running
sys.stdin.readline()
with running(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"}) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
# Comes and goes, so that its leaving meets the others' joining.
VISITOR = """
import sys
from pathlib import Path
import psycopg2
from sync_pipeline.embedded import running
for visit in range(8):
    with running(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"}) as url:
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

    def begin(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def url(self) -> str:
        """Wait until it is in, and return the URL it got."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        """End its input, and wait until it has left and ended."""
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


def ask(url: str, statement: str) -> object:
    """Run one statement, commit, and return the first value of its answer, if it has one."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def postmaster(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split("\n")[0])


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_starts_and_answers_on_a_unix_socket_only(folder: Path) -> None:
    with running(folder, settings=FAST) as url:
        assert url == f"postgresql://postgres@/postgres?host={folder}&port=5432"
        assert find_running(folder) == url
        assert str(ask(url, "SHOW server_version")).startswith("18.")
        assert ask(url, "SHOW listen_addresses") == ""
        assert ask(url, "SHOW TimeZone") == "UTC"
        assert ask(url, "SHOW max_connections") == "200"
        assert ask(url, "SHOW fsync") == "off"
        assert (folder / "log").stat().st_size > 0


def test_a_port_in_the_environment_is_not_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5999")
    with running(folder, settings=FAST) as url:
        assert ask(ensure_database(url, "sync"), "SELECT current_database()") == "sync"


def test_writes_durably_unless_told_otherwise(folder: Path) -> None:
    with running(folder) as url:
        assert ask(url, "SHOW fsync") == "on"
        assert ask(url, "SHOW full_page_writes") == "on"


def test_stops_with_its_owner_even_when_that_one_fails(folder: Path) -> None:
    pids = []

    def fail() -> None:
        with running(folder, settings=FAST):
            pids.append(postmaster(folder))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not lives(pids.pop())
    assert find_running(folder) is None


def test_stops_while_clients_are_still_connected(folder: Path) -> None:
    with running(folder, settings=FAST) as url:
        forgotten = psycopg2.connect(url)
        pid = postmaster(folder)
    assert not lives(pid)
    forgotten.close()


def test_is_out_of_reach_of_the_terminals_signals(folder: Path) -> None:
    with running(folder, settings=FAST):
        assert os.getsid(postmaster(folder)) != os.getsid(0)
        assert os.getpgid(postmaster(folder)) != os.getpgid(0)


def test_is_shared_by_processes_until_the_last_one_leaves(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    first, second = new_owner(), new_owner()
    first.begin()
    url = first.url()
    pid = postmaster(folder)
    second.begin()
    assert second.url() == url

    first.leave()
    assert postmaster(folder) == pid
    assert ask(url, "SELECT 1") == 1

    second.leave()
    assert not lives(pid)


def test_is_shared_inside_one_process(folder: Path) -> None:
    with running(folder, settings=FAST) as url:
        pid = postmaster(folder)
        with running(folder) as again:
            assert again == url
        assert ask(url, "SELECT 1") == 1
    assert not lives(pid)


def test_processes_starting_at_the_same_moment_get_one_server(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owners = [new_owner() for _ in range(3)]
    for owner in owners:
        owner.begin()
    urls = {owner.url() for owner in owners}
    assert len(urls) == 1
    pid = postmaster(folder)
    for owner in owners:
        assert ask(urls.copy().pop(), "SELECT 1") == 1
        owner.leave()
    assert not lives(pid)
    assert (folder / "log").read_text().count("ready to accept connections") == 1


def test_leaving_and_joining_at_once_never_cuts_anyone_off(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    for visitor in [new_owner(VISITOR) for _ in range(3)]:
        visitor.leave()
    assert find_running(folder) is None


def test_the_last_one_leaving_waits_for_who_is_joining_and_then_leaves_the_server_to_them(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owner = new_owner()
    owner.begin()
    url = owner.url()
    # We are somebody in the middle of joining: first the one lock, then the other.
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
        assert ask(url, "SELECT 1") == 1


def test_a_server_killed_while_somebody_joins_it_is_started_anew(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    first, second = new_owner(), new_owner()
    first.begin()
    first.url()
    pid = postmaster(folder)
    os.kill(pid, signal.SIGSTOP)  # it still calls itself ready, and answers nobody
    second.begin()
    assert second.process.stdout
    assert select.select([second.process.stdout], [], [], 1.5)[0] == []
    os.kill(pid, signal.SIGKILL)
    assert ask(second.url(), "SELECT 1") == 1
    assert postmaster(folder) != pid


def test_a_killed_owners_server_is_taken_over_and_then_stopped(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owner = new_owner()
    owner.begin()
    owner.url()
    pid = postmaster(folder)
    owner.kill()
    assert lives(pid)

    with running(folder, settings=FAST) as url:
        assert postmaster(folder) == pid
        assert ask(url, "SELECT 1") == 1
    assert not lives(pid)


def test_what_was_committed_survives_a_kill_of_owner_and_server(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owner = new_owner()
    owner.begin()
    url = owner.url()
    ask(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    busy = psycopg2.connect(url)
    backend = busy.info.backend_pid
    # A backend that is asked nothing would notice the death by itself, so let it be stopped.
    os.kill(backend, signal.SIGSTOP)
    owner.kill()
    os.kill(postmaster(folder), signal.SIGKILL)

    with running(folder, settings=FAST) as url:
        assert ask(url, "SELECT count(*) FROM kept") == 1000
        assert not lives(backend)
    busy.close()


def test_an_unrelated_process_with_the_pid_of_a_dead_server_is_left_alone(folder: Path) -> None:
    with running(folder, settings=FAST) as url:
        ask(url, "CREATE TABLE kept ()")
        stale = (folder / "postmaster.pid").read_text().split("\n", 1)[1]
    user = folder.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "600"], user=user) as unrelated:
        try:
            for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                (folder / name).write_text(f"{unrelated.pid}\n{stale}")
            assert find_running(folder) is None
            with running(folder, settings=FAST) as url:
                assert ask(url, "SELECT count(*) FROM kept") == 0
                assert postmaster(folder) != unrelated.pid
            assert unrelated.poll() is None
        finally:
            unrelated.kill()


@pytest.mark.parametrize("content", ["", "no number\n"])
def test_a_damaged_pid_file_is_no_server(folder: Path, content: str) -> None:
    with running(folder, settings=FAST):
        pass
    (folder / "postmaster.pid").write_text(content)
    with running(folder, settings=FAST) as url:
        assert ask(url, "SELECT 1") == 1


def test_an_initdb_killed_half_way_is_begun_again(
    folder: Path, new_owner: Callable[..., Owner]
) -> None:
    owner = new_owner()
    owner.begin()
    wait_until(lambda: any(folder.parent.glob("postgres.new-*/global")))
    owner.kill()
    assert not folder.exists()

    with running(folder, settings=FAST) as url:
        assert ask(url, "SELECT 1") == 1
    # What the orphaned initdb wrote in its last moment is gone after one more start.
    with running(folder, settings=FAST) as url:
        assert ask(url, "SELECT 1") == 1
        assert not list(folder.parent.glob("postgres.new-*"))


def test_a_server_that_no_user_can_see_is_not_started_over(folder: Path) -> None:
    with running(folder, settings=FAST):
        pass
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / ".s.PGSQL.5432"))
        other.listen()
        with pytest.raises(EmbeddedPostgresError, match="another container"), running(folder):
            pass
    assert not (folder / "postmaster.pid").exists()


def test_a_database_is_created_once_by_many_at_once(folder: Path) -> None:
    with running(folder, settings=FAST) as server_url:
        together = threading.Barrier(8)

        def create(_: int) -> str:
            together.wait(timeout=20)
            return ensure_database(server_url, "my data")

        with ThreadPoolExecutor(8) as pool:
            urls = set(pool.map(create, range(8)))
        assert len(urls) == 1
        assert ask(urls.pop(), "SELECT current_database()") == "my data"
        assert ensure_database(server_url, "my data").startswith("postgresql://")


def test_a_folder_too_deep_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20) / ("deeper" * 10) / "postgres"
    with running(deep, settings=FAST) as url:
        assert ask(url, "SELECT 1") == 1
        sockets = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert len(str(sockets)) < 60
        assert sockets.stat().st_mode & 0o777 == 0o700
        with running(deep) as again:
            assert again == url
    assert not sockets.exists()


@pytest.mark.parametrize("name", ["a $HOME 'b' \"c\" `d` %20+é", "one, two"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with running(tmp_path / name / "postgres", settings=FAST) as url:
        assert ask(url, "SHOW data_directory") == str(tmp_path / name / "postgres")


def test_a_folder_of_another_version_is_refused_with_what_to_do(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError) as raised, running(folder):
        pass
    message = str(raised.value)
    assert str(folder) in message
    assert "PostgreSQL 16" in message
    assert "PostgreSQL 18" in message
    assert "Move that folder away" in message
    assert [path.name for path in folder.iterdir()] == ["PG_VERSION"]


def test_a_folder_of_something_else_is_left_as_it_is(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(EmbeddedPostgresError, match="holds something else"), running(folder):
        pass
    assert (folder / "thesis.txt").read_text() == "irreplaceable"


def test_a_start_that_fails_says_why_in_one_line_and_where_the_log_is(folder: Path) -> None:
    with running(folder, settings=FAST):
        pass
    impossible = {"shared_preload_libraries": "no_such_library"}
    with pytest.raises(EmbeddedPostgresError) as raised, running(folder, settings=impossible):
        pass
    message = str(raised.value)
    assert "\n" not in message
    assert "no_such_library" in message
    assert str(folder / "log") in message
    assert find_running(folder) is None


def test_folders_above_are_opened_no_further_than_needed(folder: Path) -> None:
    above = folder.parent
    above.mkdir()
    above.chmod(0o700)
    with running(folder, settings=FAST) as url:
        assert ask(url, "SELECT 1") == 1
        assert folder.stat().st_mode & 0o777 == 0o700
    assert above.stat().st_mode & 0o777 == (0o701 if os.geteuid() == 0 else 0o700)
