"""The harness shared by the fault tests."""

from collections.abc import Iterator

import pytest

from sync_pipeline_tests.faults.harness import Harness, running_harness


@pytest.fixture(scope="session")
def harness() -> Iterator[Harness]:
    with running_harness() as running:
        yield running
