"""The Dagster for the tests of this folder, which each use other days of 2024."""

import pytest

from sync_pipeline_tests.integration.shared_stack import SharedStack
from sync_pipeline_tests.stack_project import Stack


@pytest.fixture(scope="package")
def stack(shared_stack: SharedStack) -> Stack:
    """Two PostgreSQL datasets, one of files, and a real Dagster that runs them."""
    return shared_stack.get()
