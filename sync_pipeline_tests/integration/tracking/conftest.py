"""Fixtures for tests of the tracking tables: an empty database, and a worker with a batch."""

import pytest

from sync_pipeline_tests.integration.helpers import Worker, clear, open_batch


@pytest.fixture
def database_url(one_database: str) -> str:
    """Empty the tracking tables in the module's database and return its URL."""
    return clear(one_database)


@pytest.fixture
def worker(request: pytest.FixtureRequest, database_url: str) -> Worker:
    """Return a worker with a batch in which all of the module's `DAYS` are pending."""
    return Worker(database_url, open_batch(database_url, request.module.DAYS))
