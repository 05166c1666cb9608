"""A backfill of 6,000 days, launched as in the Dagster UI, runs to its end with a correct record.

Its days have no rows, so nearly all of the time is spent by Dagster and on the records.
"""

from typing import Any

import pytest

from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.integration.shared_stack import HISTORY_DAYS, HISTORY_START
from sync_pipeline_tests.stack_project import Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TIMEOUT_SECONDS = 300


@pytest.fixture(scope="module")
def finished(stack: Stack) -> tuple[str, dict[str, Any]]:
    """Run the backfill; return its ID and its state in Dagster."""
    key = launch_backfill(stack.dagster, days(HISTORY_START, HISTORY_DAYS), asset="history")
    query = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
        ... on PartitionBackfill { status assetBackfillData { assetBackfillStatuses {
            ... on AssetPartitionsStatusCounts { numPartitionsMaterialized } } } } } }"""

    def state() -> dict[str, Any]:
        answer = stack.dagster.graphql(query, {"id": key})
        found: dict[str, Any] = answer["partitionBackfillOrError"]
        return {} if found["status"] == "REQUESTED" else found

    return key, wait_until(state, TIMEOUT_SECONDS)


def test_its_record_counts_every_day_as_synced(
    stack: Stack, finished: tuple[str, dict[str, Any]]
) -> None:
    key, _ = finished
    last = days(HISTORY_START, HISTORY_DAYS)[-1]
    record = stack.batch(key)
    assert (record["status"], record["error_message"]) == ("success", None)
    assert (record["start_date"], record["end_date"]) == (HISTORY_START, last)
    counts = (record["success_count"], record["failed_count"], record["skipped_count"])
    assert (record["total_days"], *counts) == (HISTORY_DAYS, HISTORY_DAYS, 0, 0)
    assert f"共{HISTORY_DAYS}天, 成功{HISTORY_DAYS}, 失败0, 跳过0" in record["remarks"]


def test_no_run_was_declared_lost(stack: Stack, finished: tuple[str, dict[str, Any]]) -> None:
    key, _ = finished
    runs = [attempt["run_id"] for attempt in stack.attempts(stack.batch(key)["id"])]
    assert set(runs) == {stack.batch(key)["run_id"]}
    assert stack.records("SELECT * FROM sync_correction WHERE run_id = ANY(%s)", [runs]) == []


def test_dagster_shows_every_day_as_materialized(finished: tuple[str, dict[str, Any]]) -> None:
    _, state = finished
    assert state["status"] == "COMPLETED_SUCCESS"
    (counts,) = state["assetBackfillData"]["assetBackfillStatuses"]
    assert counts["numPartitionsMaterialized"] == HISTORY_DAYS
