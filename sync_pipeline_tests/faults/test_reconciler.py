"""What the reconciler ends although no worker ever signed on for it."""

import dagster as dg
import pytest

from sync_pipeline.orchestration import identity
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.orchestration.memory import Memory
from sync_pipeline.orchestration.reconcile import Reconciler
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.waiting import waited
from sync_pipeline_tests.faults.world import LOST_AFTER_SECONDS, Layout

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
