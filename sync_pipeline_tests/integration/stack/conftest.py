"""The Dagster instance for this folder's tests, each of which uses different days in 2024."""

import pytest

from sync_pipeline_tests.integration.shared_stack import SharedStack
from sync_pipeline_tests.stack_project import Stack


@pytest.fixture(scope="package")
def stack(shared_stack: SharedStack) -> Stack:
    """Two PostgreSQL datasets and a files dataset, and a real Dagster instance that runs them."""
    return shared_stack.get()
