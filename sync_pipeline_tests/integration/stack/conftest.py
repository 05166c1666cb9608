"""One Dagster for all tests of this folder, which each take days of their own."""

from collections.abc import Callable, Iterator

import pytest

from sync_pipeline_tests import stack_project
from sync_pipeline_tests.stack_project import Stack


@pytest.fixture(scope="package")
def stack(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Two datasets and a real Dagster that runs them."""
    with stack_project.stack(make_database, tmp_path_factory.mktemp("stack")) as running:
        yield running
