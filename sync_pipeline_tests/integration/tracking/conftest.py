"""The database and the worker for tests of the tracking tables, which each clear them first."""

import pytest

from sync_pipeline_tests.integration.helpers import Worker, clear, open_batch


@pytest.fixture
def database_url(one_database: str) -> str:
    """The module's database, with empty tracking tables."""
    return clear(one_database)


@pytest.fixture
def worker(request: pytest.FixtureRequest, database_url: str) -> Worker:
    """A worker with a batch of pending days: the module's `DAYS`."""
    return Worker(database_url, open_batch(database_url, request.module.DAYS))
