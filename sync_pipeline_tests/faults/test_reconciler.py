"""What the reconciler ends where nobody signed on, and where a worker is in its way."""

import time
from contextlib import closing
from dataclasses import replace

import dagster as dg
import psycopg2
import pytest

from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor, Suspicion
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.tracking.worker.workers import register, this_process
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.plan import Fault, Plan, What, Work
from sync_pipeline_tests.faults.world import LOST_AFTER_SECONDS, Layout, Step, World
from sync_pipeline_tests.waiting import holds_within

pytestmark = [
    pytest.mark.faults,
    # Dagster's own, which elsewhere runs in another process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dagster"),
]


def test_a_run_whose_maker_died_before_it_started_is_ended(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    memory = ReconcilerCursor()

    def ended() -> bool:
        look(world, memory)
        found = world.instance.get_run_by_id(run.run_id)
        return found is not None and found.status is dg.DagsterRunStatus.FAILURE

    assert not ended()  # it may be about to start
    assert holds_within(ended, 6 * LOST_AFTER_SECONDS)


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


def test_a_worker_that_sleeps_in_copy_holds_its_day_only_until_it_is_taken_for_lost(
    harness: Harness,
) -> None:
    work = Work("orders", 60, 8, True, False, 366, 0.0)
    asleep = Fault(What.SLEEP, 0.05, step=Step.IN_COPY)
    layout = Layout.TOGETHER
    plan = Plan(1002, "by hand", "sleep", layout, (work,), (asleep,), 0.02, True, False, False)
    played = harness.play(plan)
    assert played.struck
    assert played.violations == []  # and so another has taken over


def test_a_run_of_others_over_partitions_that_are_no_days_is_none_of_its_business(
    harness: Harness,
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    memory = ReconcilerCursor()
    look(world, memory)

    @dg.job
    def theirs() -> None: ...

    run_tags = {tags.RANGE_START_TAG: "2025-01-01-00:00", tags.RANGE_END_TAG: "eu"}
    run = world.instance.create_run_for_job(theirs, tags=run_tags)
    world.instance.report_run_failed(run)
    assert look(world, memory).errors == []
    assert memory.runs_after is not None


def test_a_step_that_fails_is_named_and_keeps_none_of_the_others_from_its_work(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    fails = "sync_pipeline.orchestration.recovery.reconciler.open_records_of_ended_runs"
    monkeypatch.setattr(fails, lambda *_: dict.fromkeys("x").pop("y"))
    memory = ReconcilerCursor()

    def ended() -> bool:
        assert look(world, memory).errors == ["KeyError: 'y'"]
        found = world.instance.get_run_by_id(run.run_id)
        return found is not None and found.status is dg.DagsterRunStatus.FAILURE

    assert holds_within(ended, 6 * LOST_AFTER_SECONDS)


def test_where_a_lost_worker_cannot_be_ended_those_that_live_are_left_alone(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    lost, living, gone = sorted(never_started(world).run_id for _ in range(3))
    fails = "sync_pipeline.orchestration.recovery.reconciler.close_run"
    monkeypatch.setattr(fails, lambda *_: dict.fromkeys("x").pop("y"))

    def looked_at_runs_that_are_old_enough() -> bool:
        with closing(psycopg2.connect(world.settings.tracking_url)) as connection, connection:
            register(connection.cursor(), replace(this_process(lost), pid=2**22))
            register(connection.cursor(), this_process(living))
        old = Suspicion(time.time() - 1000)
        look(
            world,
            ReconcilerCursor(last_run_at=time.time(), suspected=dict.fromkeys([living, gone], old)),
        )
        return is_ended(world, gone)

    assert holds_within(looked_at_runs_that_are_old_enough, 6 * LOST_AFTER_SECONDS)
    assert is_ended(world, lost)
    assert not is_ended(world, living)


def test_after_a_time_in_which_nobody_could_look_a_suspicion_begins_anew(
    harness: Harness,
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    long_ago = time.time() - 1000

    def suspected_anew() -> bool:  # once it is too old to be about to start
        memory = ReconcilerCursor(last_run_at=long_ago, suspected={run.run_id: Suspicion(long_ago)})
        assert look(world, memory).corrections == []
        return memory.suspected.get(run.run_id, Suspicion(long_ago)).since > long_ago

    assert holds_within(suspected_anew, 6 * LOST_AFTER_SECONDS)


def test_whoever_looks_but_seldom_finds_a_lost_run_too(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    run = never_started(world)
    memory = ReconcilerCursor()
    looks = 0

    def ended() -> bool:
        nonlocal memory, looks
        memory = ReconcilerCursor.read(memory.to_json())
        memory.last_run_at = time.time() - 1000
        look(world, memory)
        looks += bool(memory.suspected)
        return is_ended(world, run.run_id)

    assert holds_within(ended, 6 * LOST_AFTER_SECONDS)
    assert looks == 4


def is_ended(world: World, run_id: str) -> bool:
    run = world.instance.get_run_by_id(run_id)
    return run is not None and run.is_finished


def look(world: World, memory: ReconcilerCursor) -> Reconciler:
    looking = Reconciler(world.instance, world.settings, world.datasets, memory)
    looking.run_once()
    return looking


def never_started(world: World) -> dg.DagsterRun:
    return world.instance.create_run_for_job(
        build_batch_job(world.datasets),
        run_config={"dataset": "orders", "start_date": "2025-01-01", "end_date": "2025-01-02"},
        tags={tags.BATCH_KEY_TAG: "never-started"},
    )
