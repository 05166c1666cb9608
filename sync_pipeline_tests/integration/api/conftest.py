"""Fixtures that run real API servers, either with a whole stack or without Dagster."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync_pipeline.api.server import run_api
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import Settings
from sync_pipeline_tests.command import environment_of
from sync_pipeline_tests.integration.api.client import Client
from sync_pipeline_tests.integration.api.wire import Wire, wire
from sync_pipeline_tests.integration.shared_stack import SharedStack
from sync_pipeline_tests.stack_project import Stack

UNREACHABLE = "http://127.0.0.1:9"  # an address where nothing listens
TOKENS = {"reader": "reading-is-allowed", "operator": "writing-is-allowed"}


def entries() -> str:
    """Return the value of SYNC_API_TOKENS for `TOKENS`."""
    return ",".join(
        f"{role}.person:{role}:{hashlib.sha256(token.encode()).hexdigest()}"
        for role, token in TOKENS.items()
    )


@contextmanager
def server_on(database_url: str, folder: Path, **others: str) -> Iterator[Client]:
    """Run a server on this database. It has no Dagster unless `others` contains Dagster's URL."""
    settings = Settings(
        environment_of({"SYNC_DATABASE_URL": database_url, "SYNC_DATA_DIR": str(folder)})
    )
    with run_api(
        settings, free_port(0), **{"SYNC_DAGSTER_WEBSERVER_URL": UNREACHABLE, **others}
    ) as api:
        yield Client(api.url)


@contextmanager
def wired(stack: Stack, folder: Path) -> Iterator[tuple[Wire, Client]]:
    """Run a server that reaches the stack's Dagster through a proxy that can fail."""
    with wire(stack.dagster.url) as to_dagster:
        others = {"SYNC_DAGSTER_WEBSERVER_URL": to_dagster.url}
        with server_on(stack.settings.database_url, folder, **others) as client:
            yield to_dagster, client


@pytest.fixture(scope="module")
def module_database(make_database: Callable[[str | None], str], migrated_template: str) -> str:
    """A database with the tracking tables, shared by the tests in a module."""
    return make_database(migrated_template)


@pytest.fixture(scope="module")
def alone(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server on the module's database, without tokens or Dagster."""
    with server_on(module_database, tmp_path_factory.mktemp("api")) as client:
        yield client


@pytest.fixture(scope="package")
def stack(shared_stack: SharedStack) -> Stack:
    """A real Dagster instance with two PostgreSQL datasets and a files dataset, `deliveries`.

    The tests in this folder use days in 2025.
    """
    return shared_stack.get()


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[Client]:
    """A server for the stack without tokens, one per module because launches are rate-limited."""
    others = {"SYNC_DAGSTER_WEBSERVER_URL": stack.dagster.url}
    with run_api(stack.settings, free_port(0), **others) as running:
        yield Client(running.url)


@pytest.fixture(scope="package")
def guarded(stack: Stack) -> Iterator[Client]:
    """A server that requires tokens, for the same stack; the client sends no token."""
    others = {"SYNC_DAGSTER_WEBSERVER_URL": stack.dagster.url, "SYNC_API_TOKENS": entries()}
    with run_api(stack.settings, free_port(0), **others) as running:
        yield Client(running.url)
