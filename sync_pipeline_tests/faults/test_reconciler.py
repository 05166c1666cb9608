"""What the reconciler ends where nobody signed on, and where a worker is in its way."""

import logging
import time
from contextlib import closing

import dagster as dg
import psycopg2
import pytest

from sync_pipeline.orchestration import identity
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.orchestration.memory import Memory
from sync_pipeline.orchestration.reconcile import Reconciler
from sync_pipeline.tracking.models import BegunDay, DayCounts, NewBatch
from sync_pipeline.tracking.outbox import Outbox
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.plan import Fault, Plan, What, Work
from sync_pipeline_tests.faults.waiting import waited
from sync_pipeline_tests.faults.world import LOST_AFTER_SECONDS, Layout, Step, day_number

pytestmark = [
    pytest.mark.faults,
    # Dagster's own, which elsewhere runs in another process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dagster"),
]


def test_a_run_whose_maker_died_before_it_started_is_ended(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = world.instance.create_run_for_job(
        build_batch_job(world.datasets),
        run_config={"dataset": "orders", "start_date": "2025-01-01", "end_date": "2025-01-02"},
        tags={identity.BATCH_KEY_TAG: "never-started"},
    )
    memory = Memory()

    def ended() -> bool:
        Reconciler(world.instance, world.settings, world.datasets, memory).look()
        found = world.instance.get_run_by_id(run.run_id)
        return found is not None and found.status is dg.DagsterRunStatus.FAILURE

    assert not ended()  # it may be about to start
    assert waited(ended, 6 * LOST_AFTER_SECONDS)


def test_a_worker_that_sleeps_while_it_writes_a_record_is_taken_for_lost_all_the_same(
    harness: Harness,
) -> None:
    work = Work("orders", 60, 8, True, False, 366, 0.0)
    asleep = Fault(What.SLEEP, 0.05, step=Step.AT_BEGIN)
    plan = Plan(
        number=1001,
        seed="by hand",
        kind="sleep",
        layout=Layout.TOGETHER,
        works=(work,),
        faults=(asleep,),
        pace=0.02,
        looking=True,
        retry=False,
        changed=False,
    )
    played = harness.play(plan)
    assert played.struck
    assert played.violations == []


def test_days_in_the_outbox_of_a_run_of_ours_are_recorded_and_nobody_elses_are_touched(
    harness: Harness,
) -> None:
    world = harness.world(Layout.ALL_APART)
    world.reset(0.0)
    run = world.instance.create_run_for_job(
        build_batch_job(world.datasets),
        run_config={"dataset": "orders", "start_date": "2025-02-20", "end_date": "2025-02-21"},
        tags={identity.BATCH_KEY_TAG: "killed"},
    )
    ours = NewBatch("killed", "orders", [day_number(50), day_number(51)], run.run_id, "a test")
    theirs = NewBatch("elsewhere", "orders", [day_number(52)], "run-of-another-dagster", "a test")
    connection = psycopg2.connect(world.settings.database_url)
    with closing(connection), connection, connection.cursor() as cursor:
        for batch in (ours, theirs):
            begun = BegunDay("orders", batch.days[0], batch, None, time.monotonic())
            Outbox(batch.run_id, logging.getLogger(__name__)).add(
                cursor, begun, DayCounts(20, 20, 0, 4000)
            )
    kept = "SELECT run_id FROM sync_outbox"
    assert len(world.query("target", kept)) == 2

    looking = Reconciler(world.instance, world.settings, world.datasets, Memory())
    said = [(correction.what, correction.why) for correction in looking.look()]

    assert world.query("target", kept) == [{"run_id": "run-of-another-dagster"}]
    why = "its worker ended between its commit and its record"
    assert ("a day that ended as success was recorded afterwards", why) in said
    states = "SELECT sync_date, state, rows_loaded FROM sync_attempt WHERE batch_id IS NOT NULL"
    assert world.query("tracking", f"{states} AND run_id = %s ORDER BY 1", [run.run_id]) == [
        {"sync_date": day_number(50), "state": "success", "rows_loaded": 20},
        {"sync_date": day_number(51), "state": "pending", "rows_loaded": 0},
    ]
    counts = "SELECT success_count, total_days FROM daily_sync_status WHERE batch_key = %s"
    assert world.query("tracking", counts, ["killed"]) == [{"success_count": 1, "total_days": 2}]
    assert world.query("tracking", counts, ["elsewhere"]) == []
