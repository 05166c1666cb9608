"""Dagster's storage is created once, and commands wait for each other only until it exists. The
daemon creates a run of many days with few statements."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import dagster as dg
import pytest
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import Connection, event

from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.storage import connect_to_storage
from sync_pipeline.local.stack import prepare_databases
from sync_pipeline.orchestration.dagster.storage import (
    MAX_EVENTS_PER_BATCH,
    open_instance,
    speed_up_daemon,
)
from sync_pipeline.settings import Settings

pytestmark = pytest.mark.integration

PROCESSES = 6
DAYS = 200
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


@pytest.fixture
def daemon(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance as the daemon opens it."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(MAX_EVENTS_PER_BATCH))
    resolve = "get_resolved_partitions_subset_for_events"
    monkeypatch.setattr(dg.DagsterRun, resolve, getattr(dg.DagsterRun, resolve))  # restored later
    with open_instance(settings) as instance:
        speed_up_daemon(instance)
        yield instance


def test_the_daemon_plans_every_day_of_a_run_in_few_statements(daemon: dg.DagsterInstance) -> None:
    storage = daemon.event_log_storage
    assert isinstance(storage, PostgresEventLogStorage)
    statements: list[str] = []

    def count(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    create_run(daemon)  # the first run also stores snapshots of the job
    event.listen(vars(storage)["_engine"], "before_cursor_execute", count)
    run = create_run(daemon)
    assert len(statements) < DAYS / 4
    planned = daemon.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    ).records
    found = [record.event_log_entry.get_dagster_event().partition for record in planned]
    assert (len(found), found[0], found[-1]) == (DAYS, "2025-01-01", "2025-07-19")
    assert found == sorted(set(filter(None, found)))


def test_the_daemon_plans_a_check_of_all_days_once(
    daemon: dg.DagsterInstance, settings: Settings
) -> None:
    run = create_run(daemon)
    with closing(connect_to_storage(settings, "read")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT partition FROM asset_check_executions WHERE run_id = %s", [run.run_id]
        )
        assert cursor.fetchall() == [(None,)]


def create_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """Create a run of an asset with a check over `DAYS` days, as Dagster's daemon does."""

    @dg.asset(
        partitions_def=dg.DailyPartitionsDefinition("2025-01-01"),
        check_specs=[dg.AssetCheckSpec("all_days", asset="orders")],
    )
    def orders():  # type: ignore[no-untyped-def]
        return dg.MaterializeResult()

    job = dg.Definitions([orders], jobs=[dg.define_asset_job("sync", [orders])])
    run_tags = {tags.RANGE_START_TAG: "2025-01-01", tags.RANGE_END_TAG: "2025-07-19"}
    return instance.create_run_for_job(job.resolve_job_def("sync"), tags=run_tags)
