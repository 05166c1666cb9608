"""What the reconciler ends where nobody signed on, and where a worker is in its way."""

import dagster as dg
import pytest

from sync_pipeline.orchestration import identity
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.orchestration.memory import Memory
from sync_pipeline.orchestration.reconcile import Reconciler
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.plan import Fault, Plan, What, Work
from sync_pipeline_tests.faults.waiting import waited
from sync_pipeline_tests.faults.world import LOST_AFTER_SECONDS, Layout, Step

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
