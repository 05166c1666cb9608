"""Fixtures used only by the integration tests."""

import signal
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType

import pytest

from sync_pipeline_tests import stack_project
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import Pipeline
from sync_pipeline_tests.integration.other_server import OtherServer, other_server
from sync_pipeline_tests.integration.shared_stack import FOLDERS, SharedStack
from sync_pipeline_tests.stack_project import Databases

_SHARED_STACK = pytest.StashKey[SharedStack]()


@pytest.fixture(scope="session")
def shared_stack(
    make_database: Callable[[str | None], str],
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[SharedStack]:
    """Yield the Dagster instance that the tests in several folders share."""
    shared = SharedStack(make_database, tmp_path_factory.mktemp("stack"))
    pytestconfig.stash[_SHARED_STACK] = shared
    yield shared
    shared.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Stop the shared Dagster instance after the last test that uses it."""
    yield
    shared = item.config.stash.get(_SHARED_STACK, None)
    if shared and (nextitem is None or nextitem.path.parent.name not in FOLDERS):
        shared.stop()


@pytest.fixture(scope="module")
def one_database(make_database: Callable[[str | None], str], migrated_template: str) -> str:
    """Return the URL of a database with tracking tables that a module's tests share."""
    return make_database(migrated_template)


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Yield a function that interrupts the main thread, whatever that thread is doing."""

    def raise_it(signum: int, frame: FrameType | None) -> None:
        raise helpers.Interrupted

    before = signal.signal(signal.SIGALRM, raise_it)
    main = threading.get_ident()
    yield lambda: signal.pthread_kill(main, signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def server() -> Iterator[OtherServer]:
    """Yield a separate PostgreSQL server that the test may stop and start."""
    with (
        tempfile.TemporaryDirectory(prefix="sync_pipeline_tests-") as folder,
        other_server(Path(folder) / "postgres") as running,
    ):
        yield running


@pytest.fixture
def pipeline(source_url: str, database_url: str) -> Pipeline:
    """Return a pipeline whose source is filled but whose target table does not exist yet."""
    made = Pipeline(source_url, database_url)
    made.make_source()
    return made


@pytest.fixture(scope="module")
def project(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """Yield a project for commands, without a running Dagster. Each test uses different days."""
    with stack_project.project(make_database, tmp_path_factory.mktemp("command")) as made:
        yield made
