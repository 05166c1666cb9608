"""Dagster's storage is created once, and commands wait for each other only until it exists."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest

from sync_pipeline.dagster_client.storage import connect_to_storage
from sync_pipeline.local.stack import prepare_databases
from sync_pipeline.orchestration.dagster.storage import open_instance
from sync_pipeline.settings import Settings

pytestmark = pytest.mark.integration

PROCESSES = 6
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sync_pipeline: dagster storage', 0))"


@pytest.fixture
def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with prepare_databases(Settings(environment)) as complete:
        for name, value in complete.environment.items():
            monkeypatch.setenv(name, value)
        yield complete


def test_commands_that_first_open_the_storage_at_the_same_time_all_succeed(
    settings: Settings,
) -> None:
    barrier = Barrier(PROCESSES)

    def open_storage(settings: Settings) -> int:
        barrier.wait(60)
        with open_instance(settings) as instance:
            return instance.get_runs_count()

    with ThreadPoolExecutor(PROCESSES) as pool:
        counts = list(pool.map(open_storage, [settings] * PROCESSES))
    assert counts == [0] * PROCESSES


@pytest.mark.timeout(60)
def test_a_command_that_was_suspended_while_it_opened_the_storage_does_not_block_others(
    settings: Settings,
) -> None:
    with open_instance(settings):
        pass
    with closing(connect_to_storage(settings, "suspended")) as suspended:
        suspended.cursor().execute(LOCK)
        with open_instance(settings) as instance:
            assert instance.get_runs_count() == 0
