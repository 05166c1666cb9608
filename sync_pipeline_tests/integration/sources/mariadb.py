"""A real MariaDB server for the tests; it listens only on a Unix socket."""

import itertools
import os
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

_NUMBERS = itertools.count(1)
_STOP_SECONDS = 20


@dataclass
class MariaDb:
    """A running server. `database`, if set, belongs to a single test."""

    socket: Path
    process: psutil.Process
    database: str = ""

    @property
    def url(self) -> str:
        return self.url_for("root", "")

    def url_for(self, user: str, password: str, *, driver: str = "mysql+pymysql") -> str:
        return f"{driver}://{user}:{password}@localhost/{self.database}?unix_socket={self.socket}"

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements exactly as written and return the rows from the last one."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        found: list[tuple[Any, ...]] = []
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement.replace("%", "%%"))
                found = [tuple(row) for row in result] if result.returns_rows else []
        return found

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Insert rows with bound parameters, as an application would."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        columns = ", ".join(f"`{name}`" for name in rows[0])
        values = ", ".join(f":c{n}" for n in range(len(rows[0])))
        with engine.begin() as connection:
            connection.execute(sa.text("SET time_zone = '+00:00'"))
            connection.execute(
                sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values})"),
                [{f"c{n}": value for n, value in enumerate(row.values())} for row in rows],
            )

    def reader_threads(self) -> list[int]:
        """Return the IDs of the server threads that are executing a statement in this database."""
        return [
            row[0]
            for row in self.run(
                "SELECT id FROM information_schema.processlist "
                f"WHERE db = '{self.database}' AND command = 'Query' AND id <> connection_id()"
            )
        ]


@contextmanager
def running_server(folder: Path) -> Iterator[MariaDb]:
    """Run a server in `folder` during the block.

    Raises FileNotFoundError if MariaDB is not installed, so that no test is skipped silently.
    """
    data, socket = folder / "data", folder / "s.sock"
    user = ["--user=root"] if os.geteuid() == 0 else []
    installed = subprocess.run(
        [
            _program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *user,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    arguments = [
        *("--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking"),
        *("--innodb-flush-log-at-trx-commit=0", "--max-allowed-packet=64M", "--sql-mode="),
        *("--character-set-server=utf8mb4", "--default-time-zone=+05:00", *user),
    ]
    with subprocess.Popen(
        [_program("mariadbd"), *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        drain_thread = _wait_until_ready(process)
        try:
            yield MariaDb(socket, psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:  # a failed test may have left a statement running
                process.kill()
            drain_thread.join(_STOP_SECONDS)


def _wait_until_ready(process: "subprocess.Popen[str]") -> threading.Thread:
    """Wait until the server is ready; return a thread that reads the rest of the server's log."""
    assert process.stderr is not None
    lines: deque[str] = deque(maxlen=20)
    for line in process.stderr:
        lines.append(line)
        if "ready for connections" in line:
            drain_thread = threading.Thread(
                target=lines.extend, args=(process.stderr,), daemon=True
            )
            drain_thread.start()
            return drain_thread
    raise AssertionError("".join(lines))


@contextmanager
def fresh_database(server: MariaDb) -> Iterator[MariaDb]:
    """Create a database for one test and drop it at the end."""
    name = f"test_{next(_NUMBERS)}"
    server.run(f"CREATE DATABASE {name}")
    database = MariaDb(server.socket, server.process, name)
    try:
        yield database
    finally:
        # A failed test may have left statements running, which would keep the tables locked.
        for reader in database.reader_threads():
            server.run(f"KILL {reader}")
        server.run(f"DROP DATABASE {name}")


def _program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if path is None:
        raise FileNotFoundError(
            f"{name} not found on the PATH; install it (Debian: apt-get install mariadb-server)"
        )
    return path
