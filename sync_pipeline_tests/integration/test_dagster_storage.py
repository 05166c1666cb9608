"""Dagster's storage is created once, even if several commands first open it at the same time."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from sync_pipeline.local.stack import prepare_databases
from sync_pipeline.orchestration.dagster.storage import open_instance
from sync_pipeline.settings import Settings

pytestmark = pytest.mark.integration

PROCESSES = 6


def test_commands_that_first_open_the_storage_at_the_same_time_all_succeed(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier = Barrier(PROCESSES)

    def open_storage(settings: Settings) -> int:
        barrier.wait(60)
        with open_instance(settings) as instance:
            return instance.get_runs_count()

    with prepare_databases(Settings(environment)) as settings:
        for name, value in settings.environment.items():
            monkeypatch.setenv(name, value)
        with ThreadPoolExecutor(PROCESSES) as pool:
            counts = list(pool.map(open_storage, [settings] * PROCESSES))
    assert counts == [0] * PROCESSES
