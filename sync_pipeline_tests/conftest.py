"""Fixtures for all tests: one PostgreSQL server for the session, a new database for each test.

The server is the one in `SYNC_DATABASE_URL` if that is set, otherwise an embedded one in a
temporary folder. Each database is cloned from a template with the migrated tracking tables, and
dropped after its test. This module also distributes the tests among the pytest-xdist processes.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import psycopg2
import pytest
from psycopg2 import sql
from xdist.scheduler import LoadScopeScheduling

from sync_pipeline.database.migrate import migrate
from sync_pipeline.local import embedded_postgres
from sync_pipeline.settings import with_database
from sync_pipeline_tests.command import ForkedPopen
from sync_pipeline_tests.queries import query

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_NUMBERS = itertools.count(1)
# All temporary files, including those of child processes, are kept in memory if it is large enough:
# ext4 without a journal skips recently deleted inodes one by one, which makes it slow to create
# databases soon after many were dropped (`recently_deleted` in fs/ext4/ialloc.c).
_MEMORY = Path("/dev/shm")  # noqa: S108
_MEMORY_BYTES = 4 << 30
if (
    "TMPDIR" not in os.environ
    and os.access(_MEMORY, os.W_OK)
    and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)
# No deadline: how long an example takes depends on the machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


# Folders whose tests share one Dagster instance. One process runs them all, in this order.
_SHARED_STACK = ("integration/api", "integration/stack")
# Files that share no fixtures with the other files in their folder.
_SEPARATE_FILES = ("faults/test_lost_workers.py", "faults/test_tracking_unavailable.py")
# The longest tests come first, so that all processes are busy until the end.
_LONGEST_FIRST = (
    "browser",
    *_SHARED_STACK,
    "faults",
    "integration/test_cli.py",
    "integration/test_cli_interrupts.py",
    *_SEPARATE_FILES,
    "integration/test_definitions.py",
    "integration/test_dev.py",
    "integration/test_retry.py",
    "integration/sources",
)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Assigns all tests that share a slow fixture to the same process."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.split("::")[0])
        return _scope(file.relative_to(Path(__file__).parent.name))


def _scope(file: Path) -> str:
    """Return the group of `file` (relative to this folder); each group runs in one process."""
    folder = file.parent.as_posix()
    if folder in _SHARED_STACK:
        return " and ".join(_SHARED_STACK)
    if folder in ("integration", "unit") or file.as_posix() in _SEPARATE_FILES:
        return file.as_posix()
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest tests to the front, and keep the order of the others."""

    def place(item: pytest.Item) -> int:
        file = item.path.relative_to(Path(__file__).parent)
        for name in (file.as_posix(), file.parent.as_posix()):
            if name in _LONGEST_FIRST:
                return _LONGEST_FIRST.index(name)
        return len(_LONGEST_FIRST)

    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Return the scheduler that distributes the tests among several processes (`-n 3`)."""
    return _Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def fork_servers() -> Iterator[None]:
    """Start the servers that import Dagster by forking a process that has already imported it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", ForkedPopen)
        yield


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a PostgreSQL server on which databases may be created."""
    # A new connection costs less with a small cache, and the tests open many.
    settings = {"fsync": "off", "max_connections": "300", "shared_buffers": "32MB"}
    given = os.environ.get("SYNC_DATABASE_URL")
    if given:
        yield given
        return
    # Not in pytest's own temporary folder, which each session makes private: a server started by
    # root runs as another user, who could not access it.
    with (
        tempfile.TemporaryDirectory(prefix="sync_pipeline_tests-") as folder,
        embedded_postgres.run_server(Path(folder) / "postgres", settings=settings) as url,
    ):
        yield url


@pytest.fixture(scope="session")
def make_database(server_url: str) -> Iterator[Callable[[str | None], str]]:
    """Yield a function that creates a database, empty or from a template, and returns its URL."""
    made: list[str] = []

    def make(template: str | None = None) -> str:
        name = f"sync_test_{os.getpid()}_{next(_NUMBERS)}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            statement += sql.SQL(" TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(template))
        query(server_url, statement)
        made.append(name)
        return with_database(server_url, name)

    yield make
    for name in made:
        drop_database(server_url, name)


@pytest.fixture(scope="session")
def migrated_template(make_database: Callable[[str | None], str]) -> str:
    """The name of a database that contains only the tracking tables."""
    url = make_database(None)
    migrate(url, "SYNC_DATABASE_URL")
    return url.split("?")[0].rsplit("/", 1)[1]


@pytest.fixture
def database_url(
    make_database: Callable[[str | None], str], migrated_template: str, server_url: str
) -> Iterator[str]:
    """A new target database with the tracking tables."""
    url = make_database(migrated_template)
    yield url
    drop_database(server_url, url.split("?")[0].rsplit("/", 1)[1])


@pytest.fixture
def source_url(make_database: Callable[[str | None], str], server_url: str) -> Iterator[str]:
    """A new, empty source database."""
    url = make_database(None)
    yield url
    drop_database(server_url, url.split("?")[0].rsplit("/", 1)[1])


@pytest.fixture
def connection(database_url: str) -> Iterator["Connection"]:
    """An autocommit connection to the test's target database."""
    opened = psycopg2.connect(database_url)
    opened.autocommit = True
    yield opened
    opened.close()


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch, database_url: str, source_url: str, tmp_path: Path
) -> dict[str, str]:
    """Point this process's settings at the test's databases and folder."""
    values = {
        "SYNC_DATABASE_URL": database_url,
        "SYNC_SOURCE_URL": source_url,
        "SYNC_DATA_DIR": str(tmp_path / "data"),
    }
    for name in ("SYNC_TRACKING_URL", "SYNC_DAGSTER_STORAGE_URL", "SYNC_PAGE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def drop_database(server_url: str, name: str) -> None:
    """Drop a database and close all connections to it."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    query(server_url, statement)
