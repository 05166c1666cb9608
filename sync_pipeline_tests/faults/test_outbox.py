"""Days that a worker committed but did not record are recorded before its run is closed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
import psycopg2
import pytest

from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.orchestration.sensors import build_sensors
from sync_pipeline.tracking.models import AttemptState, BatchSpec, DayCounts, DayOutcome
from sync_pipeline.tracking.worker.outbox import Outbox
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.workers import in_environment
from sync_pipeline_tests.faults.world import Layout, World, day_number

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

pytestmark = [
    pytest.mark.faults,
    # Dagster's own warnings, which appear here because Dagster runs in the tests' process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dagster"),
]

DAYS = [day_number(50), day_number(51)]
KEPT = "SELECT run_id FROM sync_outbox"
SLOW_RECORDS = """
CREATE FUNCTION slow_record() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.6); RETURN NEW; END $$;
CREATE TRIGGER slow AFTER UPDATE OF state ON sync_attempt
    FOR EACH ROW WHEN (NEW.state = 'success') EXECUTE FUNCTION slow_record();
"""


def by_reconciler(world: World, run: dg.DagsterRun) -> None:
    Reconciler(world.instance, world.settings, world.datasets, ReconcilerCursor()).run_once()


def by_sensor(world: World, run: dg.DagsterRun) -> None:
    """Run the sensor that handles failed runs."""
    event = world.instance.report_run_failed(run)
    (sensor,) = (s for s in build_sensors(world.datasets) if s.name == "record_run_failure")
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=event,
        dagster_instance=world.instance,
        dagster_run=run,
    )
    with in_environment(world.environment):
        sensor(context)


@pytest.mark.parametrize("layout", [Layout.TOGETHER, Layout.ALL_APART])
@pytest.mark.parametrize("close", [by_reconciler, by_sensor])
def test_only_days_from_runs_of_this_dagster_are_recorded(
    harness: Harness, layout: Layout, close: Callable[[World, dg.DagsterRun], None]
) -> None:
    world = harness.world(layout)
    world.reset(0.0)
    run = create_run(world)
    ours = BatchSpec("killed", "orders", DAYS, run.run_id, "a test")
    theirs = BatchSpec("elsewhere", "orders", [day_number(52)], "run-of-another-dagster", "a test")
    leave_in_outbox(world, ours)
    leave_in_outbox(world, theirs)
    assert len(world.query("target", KEPT)) == 2

    close(world, run)

    assert world.query("target", KEPT) == [{"run_id": "run-of-another-dagster"}]
    (correction,) = world.query(
        "tracking",
        "SELECT sync_date, what, why FROM sync_correction WHERE sync_date IS NOT NULL"
        " AND what LIKE 'recorded a late outcome: %%'",
        [],
    )
    assert correction == {
        "sync_date": DAYS[0],
        "what": "recorded a late outcome: success",
        "why": "its worker ended without recording it",
    }
    (attempt,) = world.query(
        "tracking",
        "SELECT state, rows_loaded FROM sync_attempt WHERE run_id = %s AND sync_date = %s",
        [run.run_id, DAYS[0]],
    )
    assert attempt == {"state": "success", "rows_loaded": 20}
    counts = "SELECT success_count, total_days FROM daily_sync_status WHERE batch_key = %s"
    assert world.query("tracking", counts, ["killed"]) == [{"success_count": 1, "total_days": 2}]
    assert world.query("tracking", counts, ["elsewhere"]) == []


def test_an_outcome_that_the_tables_reject_is_kept_and_the_others_are_recorded(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    world = harness.world(Layout.ALL_APART)
    run = leave_days_in_outbox(world)
    synced = "SELECT sync_date FROM sync_attempt WHERE run_id = %s AND state = 'success' ORDER BY 1"
    with statements(world.settings.tracking_url) as cursor:
        cursor.execute(
            "ALTER TABLE sync_attempt ADD CONSTRAINT no_first CHECK (sync_date <> %s) NOT VALID",
            [DAYS[0]],
        )
        try:
            by_reconciler(world, run)
            assert world.query("tracking", synced, [run.run_id]) == [{"sync_date": DAYS[1]}]
            assert len(world.query("target", KEPT)) == 1
            assert "the tracking tables reject its record: new row" in caplog.text
        finally:
            cursor.execute("ALTER TABLE sync_attempt DROP CONSTRAINT no_first")
    by_reconciler(world, run)
    assert world.query("tracking", synced, [run.run_id]) == [{"sync_date": day} for day in DAYS]
    assert world.query("target", KEPT) == []


def test_the_end_time_of_a_day_does_not_depend_on_how_long_other_days_take_to_record(
    harness: Harness,
) -> None:
    world = harness.world(Layout.ALL_APART)
    run = leave_days_in_outbox(world)
    with statements(world.settings.tracking_url) as cursor:
        cursor.execute(SLOW_RECORDS)
        by_reconciler(world, run)
        cursor.execute("DROP FUNCTION slow_record CASCADE")
    ended = "SELECT ended_at FROM sync_attempt WHERE run_id = %s ORDER BY ended_at"
    first, second = (row["ended_at"] for row in world.query("tracking", ended, [run.run_id]))
    assert second - first < timedelta(seconds=0.5)


def create_run(world: World) -> dg.DagsterRun:
    return world.instance.create_run_for_job(
        build_batch_job(world.datasets),
        run_config={"dataset": "orders", "start_date": str(DAYS[0]), "end_date": str(DAYS[1])},
        tags={tags.BATCH_KEY_TAG: "killed"},
    )


def leave_days_in_outbox(world: World) -> dg.DagsterRun:
    """Leave each day in the outbox, in a separate batch; return the run that loaded them."""
    world.reset(0.0)
    run = create_run(world)
    for day in DAYS:
        leave_in_outbox(world, BatchSpec(f"killed {day}", "orders", [day], run.run_id, "a test"))
    return run


@contextmanager
def statements(url: str) -> Iterator["Cursor"]:
    """Yield a cursor whose statements are committed one by one."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        yield cursor


def leave_in_outbox(world: World, batch: BatchSpec) -> None:
    """Add the first day of `batch` to the outbox, as if the worker had been killed immediately
    afterwards.
    """
    outcome = DayOutcome(
        "orders",
        batch.days[0],
        AttemptState.SUCCESS,
        batch.run_id,
        batch.triggered_by,
        batch,
        seconds=0.0,
        counts=DayCounts(20, 20, 0, 4000),
    )
    connection = psycopg2.connect(world.settings.database_url)
    with closing(connection), connection, connection.cursor() as cursor:
        kept = Outbox(batch.run_id, logging.getLogger(__name__))
        kept.add(cursor, outcome)
