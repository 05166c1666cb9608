"""The reconciler ends runs for which no worker registered, and runs whose worker is lost."""

import time
from contextlib import closing
from dataclasses import replace

import dagster as dg
import psycopg2
import pytest

from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.orchestration.dagster.internals import (
    AssetMaterializationPlannedData,
    DagsterEvent,
)
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor, Suspicion
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.tracking.worker.workers import register, this_process
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.plan import Fault, Plan, What
from sync_pipeline_tests.faults.works import Form, Work
from sync_pipeline_tests.faults.world import LOST_AFTER_SECONDS, Layout, Step, World
from sync_pipeline_tests.waiting import holds_within, wait_until

pytestmark = [
    pytest.mark.faults,
    # Dagster's own warnings, which appear here because Dagster runs in the tests' process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dagster"),
]


def test_a_run_is_ended_if_its_creator_died_before_starting_it(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    memory = ReconcilerCursor()

    def ended() -> bool:
        reconcile(world, memory)
        found = world.instance.get_run_by_id(run.run_id)
        return found is not None and found.status is dg.DagsterRunStatus.FAILURE

    assert not ended()  # the run may be about to start
    assert holds_within(ended, 6 * LOST_AFTER_SECONDS)


def test_a_run_is_not_ended_while_its_creator_stores_its_planned_events(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    memory = ReconcilerCursor()
    began = time.monotonic()

    def is_created_for_long() -> bool:
        plan_day(world, run)
        reconcile(world, memory)
        assert not is_ended(world, run.run_id)
        return time.monotonic() - began > 5 * LOST_AFTER_SECONDS

    def ended() -> bool:
        reconcile(world, memory)
        return is_ended(world, run.run_id)

    wait_until(is_created_for_long)
    assert not ended()
    assert holds_within(ended, 6 * LOST_AFTER_SECONDS)  # its creator was killed


def test_a_worker_suspended_while_it_writes_a_record_is_declared_lost(
    harness: Harness,
) -> None:
    work = Work("orders", 60, 8, True, Form.JOB, 0.0)
    asleep = Fault(What.SLEEP, 0.05, step=Step.AT_BEGIN)
    plan = Plan(
        number=1001,
        seed="by hand",
        kind="sleep",
        layout=Layout.TOGETHER,
        works=(work,),
        faults=(asleep,),
        pace=0.02,
        reconciling=True,
        retry=False,
        changed=False,
    )
    played = harness.play(plan)
    assert played.struck
    assert played.violations == []


def test_a_worker_suspended_in_copy_blocks_its_day_only_until_it_is_declared_lost(
    harness: Harness,
) -> None:
    work = Work("orders", 60, 8, True, Form.JOB, 0.0)
    asleep = Fault(What.SLEEP, 0.05, step=Step.IN_COPY)
    layout = Layout.TOGETHER
    plan = Plan(1002, "by hand", "sleep", layout, (work,), (asleep,), 0.02, True, False, False)
    played = harness.play(plan)
    assert played.struck
    assert played.violations == []  # implies that another worker synced the day


def test_a_run_of_another_job_whose_partitions_are_not_days_is_ignored(
    harness: Harness,
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    memory = ReconcilerCursor()
    reconcile(world, memory)

    @dg.job
    def theirs() -> None: ...

    run_tags = {tags.RANGE_START_TAG: "2025-01-01-00:00", tags.RANGE_END_TAG: "eu"}
    run = world.instance.create_run_for_job(theirs, tags=run_tags)
    world.instance.report_run_failed(run)
    assert reconcile(world, memory).errors == []
    assert memory.runs_after is not None


def test_a_failed_step_is_reported_and_the_other_steps_still_run(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    fails = "sync_pipeline.orchestration.recovery.reconciler.open_records_of_ended_runs"
    monkeypatch.setattr(fails, lambda *_: dict.fromkeys("x").pop("y"))
    memory = ReconcilerCursor()

    def ended() -> bool:
        assert reconcile(world, memory).errors == ["KeyError: 'y'"]
        found = world.instance.get_run_by_id(run.run_id)
        return found is not None and found.status is dg.DagsterRunStatus.FAILURE

    assert holds_within(ended, 6 * LOST_AFTER_SECONDS)


def test_live_workers_are_not_affected_if_a_lost_one_cannot_be_ended(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    lost, live, orphan = sorted(never_started(world).run_id for _ in range(3))
    fails = "sync_pipeline.orchestration.recovery.reconciler.close_run"
    monkeypatch.setattr(fails, lambda *_: dict.fromkeys("x").pop("y"))

    def reconciled_old_runs() -> bool:
        with closing(psycopg2.connect(world.settings.tracking_url)) as connection, connection:
            register(connection.cursor(), replace(this_process(lost), pid=2**22))
            register(connection.cursor(), this_process(live))
        old = Suspicion(time.time() - 1000)
        reconcile(
            world,
            ReconcilerCursor(last_run_at=time.time(), suspected=dict.fromkeys([live, orphan], old)),
        )
        return is_ended(world, orphan)

    assert holds_within(reconciled_old_runs, 6 * LOST_AFTER_SECONDS)
    assert is_ended(world, lost)
    assert not is_ended(world, live)


def test_a_suspicion_is_restarted_after_the_reconciler_could_not_run(
    harness: Harness,
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    long_ago = time.time() - 1000

    def is_suspected_again() -> bool:  # the run is too old to be about to start
        memory = ReconcilerCursor(last_run_at=long_ago, suspected={run.run_id: Suspicion(long_ago)})
        assert reconcile(world, memory).corrections == []
        return memory.suspected.get(run.run_id, Suspicion(long_ago)).since > long_ago

    assert holds_within(is_suspected_again, 6 * LOST_AFTER_SECONDS)


def test_a_reconciler_that_runs_rarely_still_finds_a_lost_run(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    memory = ReconcilerCursor()
    times_suspected = 0

    def ended() -> bool:
        nonlocal memory, times_suspected
        memory = ReconcilerCursor.read(memory.to_json())
        memory.last_run_at = time.time() - 1000
        reconcile(world, memory)
        times_suspected += bool(memory.suspected)
        return is_ended(world, run.run_id)

    assert holds_within(ended, 6 * LOST_AFTER_SECONDS)
    assert times_suspected == 4


def is_ended(world: World, run_id: str) -> bool:
    run = world.instance.get_run_by_id(run_id)
    return run is not None and run.is_finished


def reconcile(world: World, memory: ReconcilerCursor) -> Reconciler:
    reconciler = Reconciler(world.instance, world.settings, world.datasets, memory)
    reconciler.run_once()
    return reconciler


def plan_day(world: World, run: dg.DagsterRun) -> None:
    """Store a planned event, as Dagster does for each partition when it creates a run."""
    planned = AssetMaterializationPlannedData(dg.AssetKey("orders"), partition="2025-01-01")
    event = DagsterEvent.build_asset_materialization_planned_event(run.job_name, "orders", planned)
    world.instance.report_dagster_event(event, run.run_id)


def never_started(world: World) -> dg.DagsterRun:
    return world.instance.create_run_for_job(
        build_batch_job(world.datasets),
        run_config={"dataset": "orders", "start_date": "2025-01-01", "end_date": "2025-01-02"},
        tags={tags.BATCH_KEY_TAG: "never-started"},
    )
