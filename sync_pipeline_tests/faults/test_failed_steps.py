"""A step that fails closes its batch with its own error."""

from datetime import date, timedelta
from typing import Any

import pytest

from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.state import batches
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.workers import in_environment
from sync_pipeline_tests.faults.world import DAYS, Layout, World, day_number
from sync_pipeline_tests.integration.helpers import transaction

pytestmark = [
    pytest.mark.faults,
    # Dagster's own warnings, which appear here because Dagster runs in the tests' process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dagster"),
]


def test_a_batch_whose_days_no_longer_belong_to_the_dataset_fails_with_that_reason(
    harness: Harness,
) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    before = day_number(0) - timedelta(days=9)
    record = _run_batch(world, [before, before + timedelta(days=1)])
    assert (record["status"], record["failed_count"]) == ("failed", 2)
    assert f"{before} is before its first day {day_number(0)}" in record["error_message"]


def test_days_of_a_batch_that_no_longer_belong_to_the_dataset_say_so(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    before = day_number(0) - timedelta(days=1)
    record = _run_batch(world, [before, day_number(0)])
    # The other day was synced before.
    assert (record["skipped_count"], record["failed_count"]) == (1, 1)
    reason = f"not run: dataset orders now begins on {day_number(0)} and ends on"
    (outside,) = world.query(
        "tracking", "SELECT error_message FROM sync_attempt WHERE sync_date = %s", [before]
    )
    assert outside["error_message"].startswith(reason)


def test_days_between_those_of_a_batch_are_not_synced_in_its_place(harness: Harness) -> None:
    world = harness.world(Layout.TOGETHER)
    world.reset(0.0)
    outside = [day_number(0) - timedelta(days=1), day_number(DAYS)]
    record = _run_batch(world, outside)
    assert (record["status"], record["total_days"], record["failed_count"]) == ("failed", 2, 2)
    assert "not run: dataset orders now begins on" in record["error_message"].replace("Not", "not")


def _run_batch(world: World, requested: list[date]) -> dict[str, Any]:
    """Open a batch as the API does, run it, and return its record."""
    with transaction(world.settings.tracking_url) as cursor:
        batches.open_batch(cursor, BatchSpec("api-moved", "orders", requested, None, "a test"))
    with in_environment(world.environment):
        build_batch_job(world.datasets).execute_in_process(
            run_config={
                "dataset": "orders",
                "start_date": str(requested[0]),
                "end_date": str(requested[1]),
            },
            tags={tags.BATCH_KEY_TAG: "api-moved"},
            instance=world.instance,
            raise_on_error=False,
        )
    (record,) = world.query(
        "tracking", "SELECT * FROM daily_sync_status WHERE batch_key = %s", ["api-moved"]
    )
    return record
