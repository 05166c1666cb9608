"""If the target table is missing, the dataset's synced days are marked as failed."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from sync_pipeline.sync.days import Outcome
from sync_pipeline.tracking.state import invalidation
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    Pipeline,
    Worker,
    open_batch,
    record,
    rows,
    run,
    transaction,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(6)
LOST = "the target table orders was missing: the rows of this day are lost; sync the day again"


def states(url: str) -> list[str]:
    found = run(url, "SELECT state FROM sync_day_coverage ORDER BY sync_date")
    return [state for (state,) in found]


def corrections(url: str) -> list[tuple[Any, ...]]:
    return run(url, "SELECT what, why, dataset, run_id FROM sync_correction")


@pytest.mark.parametrize("parallel", [1, 3])
def test_days_of_a_dropped_table_are_marked_failed_and_the_requested_days_are_synced(
    pipeline: Pipeline, connection: "Connection", parallel: int
) -> None:
    pipeline.sync(DAYS)
    run(pipeline.target, "DROP TABLE orders")
    batch = open_batch(pipeline.target, DAYS[:4])
    results = pipeline.sync(DAYS[:4], batch, resync=False, run_id="run-2", parallel_days=parallel)
    assert {result.outcome for result in results} == {Outcome.SUCCESS}
    assert pipeline.loaded() == dict.fromkeys(DAYS[:4], 10)
    assert states(pipeline.target) == ["success"] * 4 + ["failed"] * 2
    failed = helpers.day_record(connection, DAYS[5])
    assert (failed["error_message"], failed["remarks"]) == (LOST, f"单日同步失败: {LOST}")
    assert (failed["total_records"], failed["success_count"], failed["failed_count"]) == (0, 0, 0)
    assert corrections(pipeline.target) == [
        (
            "the rows of 6 days, from 2025-10-01 to 2025-10-06, are lost",
            "the target table orders was missing",
            "orders",
            "run-2",
        )
    ]
    assert record(connection, batch.id)["skipped_count"] == 0


def test_a_batch_of_synced_days_detects_the_missing_table(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    pipeline.sync(DAYS)
    run(pipeline.target, "DROP TABLE orders")
    batch = open_batch(pipeline.target, DAYS)
    assert len(pipeline.sync(DAYS, batch, resync=False)) == 6
    found = record(connection, batch.id)
    assert (found["status"], found["success_count"], found["skipped_count"]) == ("success", 6, 0)
    assert pipeline.loaded() == dict.fromkeys(DAYS, 10)


def test_changing_the_target_table_marks_the_synced_days_failed(pipeline: Pipeline) -> None:
    pipeline.sync(DAYS)
    changed = {"table": "new_orders"}
    pipeline.sync(DAYS[:2], resync=False, target=changed)
    assert run(pipeline.target, "SELECT count(*) FROM new_orders") == [(20,)]
    assert states(pipeline.target) == ["success"] * 2 + ["failed"] * 4


def test_nothing_is_corrected_on_the_first_sync_or_if_the_table_exists(
    pipeline: Pipeline,
) -> None:
    pipeline.sync(DAYS[:3])
    again = pipeline.sync(DAYS, resync=False)
    assert [result.outcome for result in again] == [Outcome.SKIPPED] * 3 + [Outcome.SUCCESS] * 3
    assert corrections(pipeline.target) == []


def test_a_retried_batch_also_syncs_its_completed_days_again(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    batch = open_batch(pipeline.target, DAYS[:3])
    run(pipeline.source, f"INSERT INTO broken VALUES ('{DAYS[1]}')")
    pipeline.sync(DAYS[:3], batch)
    assert record(connection, batch.id)["status"] == "failed"
    run(pipeline.source, "DELETE FROM broken")
    run(pipeline.target, "DROP TABLE orders")
    pipeline.sync(DAYS[:3], batch, resync=False, run_id="run-2")
    found = record(connection, batch.id)
    assert (found["status"], found["success_count"], found["total_records"]) == ("success", 3, 30)
    assert pipeline.loaded() == dict.fromkeys(DAYS[:3], 10)


def test_records_in_a_separate_database_are_corrected(
    pipeline: Pipeline, make_database: Callable[[str | None], str], migrated_template: str
) -> None:
    tracking = make_database(migrated_template)
    apart = Pipeline(pipeline.source, pipeline.target, tracking)
    apart.sync(DAYS)
    run(apart.target, "DROP TABLE orders")
    apart.sync(DAYS[:2], resync=False)
    assert states(tracking) == ["success"] * 2 + ["failed"] * 4


def test_a_late_correction_does_not_affect_days_loaded_into_the_new_table(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    worker = Worker(pipeline.target)
    worker.sync(DAYS[0], DAYS[1])
    found_missing = time.monotonic()
    worker.sync(DAYS[1])
    for _ in range(2):
        with transaction(pipeline.target) as cursor:
            ago = time.monotonic() - found_missing
            invalidation.invalidate_days(cursor, "orders", "orders", "run-2", ago=ago)
    assert states(pipeline.target) == ["failed", "success"]
    assert len(rows(connection, "SELECT * FROM sync_correction")) == 1


def test_a_record_inserted_manually_is_not_changed(pipeline: Pipeline) -> None:
    run(
        pipeline.target,
        "INSERT INTO daily_sync_status (dataset, sync_date, status) "
        "VALUES ('orders', '2025-09-30', 'success')",
    )
    pipeline.sync(DAYS[:1])
    assert states(pipeline.target) == ["success", "success"]
