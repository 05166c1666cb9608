"""The Dagster for the tests in this folder, each of which uses different days in 2024."""

import pytest

from sync_pipeline_tests.integration.shared_stack import SharedStack
from sync_pipeline_tests.stack_project import Stack


@pytest.fixture(scope="package")
def stack(shared_stack: SharedStack) -> Stack:
    """Two PostgreSQL datasets and one files dataset, and a real Dagster that runs them."""
    return shared_stack.get()
