"""A day's record says which rows the target contains, whatever the latest attempt did."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from sync_pipeline.sync.days import Outcome
from sync_pipeline.sync.replay import ReplayResult, replay
from sync_pipeline.tracking.models import NO_ROWS, AttemptState, DayOutcome
from sync_pipeline.tracking.read import day_checks, metrics
from sync_pipeline.tracking.read.coverage import DayState, coverage
from sync_pipeline.tracking.state import attempts
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    DATASET,
    ROWS_PER_DAY,
    START,
    Pipeline,
    Worker,
    counts,
    day_record,
    execute,
    open_batch,
    rows,
    run,
    transaction,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(3)
_APPEND = {"write": "append_only"}
_QUARANTINE = {"on_bad_row": "quarantine"}
_NO_LARGE_AMOUNT = "ALTER TABLE orders ADD CONSTRAINT small CHECK (amount < 1000) NOT VALID"

_LATE = DayOutcome(
    DATASET, START, AttemptState.SUCCESS, "run-1", "a test", None, seconds=1.0, counts=counts(7)
)


def remaining(connection: "Connection", day: date = START) -> int | None:
    """Return how many rows remain according to the day's record; check the time beside it."""
    found = day_record(connection, day)
    latest = rows(
        connection,
        """SELECT max(ended_at) AS at FROM sync_attempt
           WHERE dataset = %s AND sync_date = %s AND state = 'success'""",
        [DATASET, day],
    )[0]["at"]
    assert found["standing_since"] == (None if found["standing_rows"] is None else latest)
    count: int | None = found["standing_rows"]
    return count


def states(connection: "Connection", of: list[date] = DAYS) -> list[DayState]:
    with connection.cursor() as cursor:
        found = coverage(cursor, DATASET, of[0], of[-1], (of[0], of[-1]))
    return [day.state for day in found]


def in_sql(connection: "Connection") -> tuple[list[str], list[dict[str, Any]]]:
    """Return the states in the view of all days, and the gaps."""
    days = rows(connection, "SELECT state FROM sync_day_coverage ORDER BY sync_date")
    gaps = rows(connection, "SELECT start_date, end_date FROM sync_day_gap ORDER BY start_date")
    return [day["state"] for day in days], gaps


class TestFailedResync:
    """A synced day is synced again, without success."""

    def test_its_rows_remain_in_the_record_the_coverage_and_the_metrics(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS)
        (result,) = pipeline.sync([START], source=_source(ready_query="SELECT false"))
        assert result.outcome is Outcome.FAILED
        found = day_record(connection, START)
        assert (found["status"], found["success_count"]) == ("failed", 0)
        assert remaining(connection) == ROWS_PER_DAY
        assert states(connection) == [DayState.RESYNC_FAILED, DayState.SUCCESS, DayState.SUCCESS]
        assert in_sql(connection) == (["resync_failed", "success", "success"], [])
        with connection.cursor() as cursor:
            found_metrics = {one.state: one for one in metrics.day_metrics(cursor)}
        assert {state: one.rows for state, one in found_metrics.items()} == {
            "resync_failed": ROWS_PER_DAY,
            "success": 2 * ROWS_PER_DAY,
        }

    def test_a_day_that_was_never_loaded_has_no_rows_and_is_a_gap(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        run(pipeline.source, f"INSERT INTO broken VALUES ('{START}')")
        pipeline.sync(DAYS)
        assert remaining(connection) is None
        assert states(connection)[0] is DayState.FAILED
        assert in_sql(connection) == (
            ["failed", "success", "success"],
            [{"start_date": START, "end_date": START}],
        )

    def test_an_empty_day_counts_as_loaded(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        run(pipeline.source, f"DELETE FROM orders WHERE day = '{START}'")
        pipeline.sync(DAYS)
        assert remaining(connection) == 0
        with transaction(pipeline.target) as cursor:
            assert states(cursor.connection)[0] is DayState.EMPTY

    def test_a_later_success_replaces_them(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS)
        run(pipeline.source, f"INSERT INTO broken VALUES ('{START}')")
        pipeline.sync([START])
        run(pipeline.source, "DELETE FROM broken", "DELETE FROM orders WHERE id = 3")
        pipeline.sync([START])
        assert remaining(connection) == ROWS_PER_DAY - 1
        assert states(connection)[0] is DayState.SUCCESS

    def test_they_are_lost_with_the_table(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS)
        run(pipeline.source, f"INSERT INTO broken VALUES ('{START}')")
        pipeline.sync([START])
        run(pipeline.target, "DROP TABLE orders")
        pipeline.sync([DAYS[2]])
        assert [remaining(connection, day) for day in DAYS] == [None, None, ROWS_PER_DAY]
        assert states(connection) == [DayState.FAILED, DayState.FAILED, DayState.SUCCESS]
        assert "was missing" not in day_record(connection, START)["error_message"]

    def test_quarantined_rows_can_still_be_replayed(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS, target=_QUARANTINE)
        run(pipeline.target, _NO_LARGE_AMOUNT)
        run(pipeline.source, "UPDATE orders SET amount = 5000 WHERE id = 3")
        pipeline.sync([START], target=_QUARANTINE)
        run(pipeline.source, f"INSERT INTO broken VALUES ('{START}')")
        pipeline.sync([START], target=_QUARANTINE)
        assert remaining(connection) == ROWS_PER_DAY - 1
        run(pipeline.target, "ALTER TABLE orders DROP CONSTRAINT small")
        assert _replay(pipeline) == [ReplayResult(START, 1, 0, None)]
        assert day_record(connection, START)["status"] == "failed"
        assert remaining(connection) == ROWS_PER_DAY
        loaded = rows(
            connection,
            "SELECT rows_rejected FROM sync_attempt WHERE state = 'success' AND sync_date = %s "
            "ORDER BY id DESC LIMIT 1",
            [START],
        )
        assert loaded == [{"rows_rejected": 0}]


class TestRefusedDay:
    """`append_only` without a key does not load a day that has rows."""

    def test_the_record_of_a_synced_day_does_not_change(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS, target=_APPEND)
        before = _shown(connection)
        batch = open_batch(pipeline.target, DAYS)
        results = pipeline.sync(DAYS, batch, target=_APPEND)
        assert {result.outcome for result in results} == {Outcome.FAILED}
        assert _shown(connection) == before
        assert states(connection) == [DayState.SUCCESS] * 3
        assert helpers.record(connection, batch.id)["failed_count"] == 3
        assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)

    def test_a_nightly_retry_does_not_try_a_synced_day_again(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS[1:], target=_APPEND)
        run(pipeline.target, f"INSERT INTO orders VALUES ('{START}', 1, 1)")
        pipeline.sync(DAYS, target=_APPEND)
        with connection.cursor() as cursor:
            found = day_checks.failed_or_missing_days(cursor, DATASET, DAYS[0], DAYS[-1])
        assert found == {START: None}

    def test_a_day_with_rows_from_elsewhere_fails(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS[1:], target=_APPEND)
        run(pipeline.target, f"INSERT INTO orders VALUES ('{START}', 1, 1)")
        (result,) = pipeline.sync([START], target=_APPEND)
        assert "already has 1 rows" in (result.error or "")
        assert day_record(connection, START)["status"] == "failed"
        assert remaining(connection) is None

    def test_the_next_attempt_gets_the_next_number_and_can_succeed(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync([START], target=_APPEND)
        pipeline.sync([START], target=_APPEND)
        run(pipeline.target, f"DELETE FROM orders WHERE day = '{START}'")
        pipeline.sync([START], target=_APPEND)
        found = day_record(connection, START)
        assert (found["status"], found["attempt"]) == ("success", 3)

    def test_a_success_that_is_recorded_after_the_refusal_is_shown(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        loading = Worker(pipeline.target)
        attempt = loading.begin(START)
        _refuse(pipeline, "run-2")
        assert day_record(connection, START)["status"] == "failed"
        late = replace(helpers.outcome_of(attempt, counts(7)), seconds=5.0)
        with transaction(pipeline.target) as cursor:
            attempts.record_outcome(cursor, late, None, ended_ago=1.0)
        found = day_record(connection, START)
        assert (found["status"], found["attempt"], found["success_count"]) == ("success", 1, 7)
        assert remaining(connection) == 7


class TestDeletedBatch:
    """Deleting the record of a batch also deletes the attempts for its days."""

    def test_a_refusal_does_not_change_a_synced_day(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync([START], open_batch(pipeline.target, [START]), target=_APPEND)
        run(pipeline.target, "DELETE FROM daily_sync_status WHERE kind = 'batch'")
        pipeline.sync([START], target=_APPEND)
        found = day_record(connection, START)
        assert (found["status"], found["success_count"]) == ("success", ROWS_PER_DAY)
        assert (found["standing_rows"], found["end_time"]) == (
            ROWS_PER_DAY,
            found["standing_since"],
        )

    def test_quarantined_rows_can_be_replayed(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(DAYS[1:], target=_QUARANTINE)
        run(pipeline.target, _NO_LARGE_AMOUNT)
        run(pipeline.source, "UPDATE orders SET amount = 5000 WHERE id = 3")
        pipeline.sync([START], open_batch(pipeline.target, [START]), target=_QUARANTINE)
        run(
            pipeline.target,
            "DELETE FROM daily_sync_status WHERE kind = 'batch'",
            "ALTER TABLE orders DROP CONSTRAINT small",
        )
        assert _replay(pipeline) == [ReplayResult(START, 1, 0, None)]
        found = day_record(connection, START)
        assert (found["success_count"], found["failed_count"]) == (ROWS_PER_DAY, 0)
        assert found["standing_rows"] == ROWS_PER_DAY

    def test_a_running_batch_is_opened_again(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        syncing = pipeline.start(DAYS, open_batch(pipeline.target, DAYS))
        next(syncing)
        run(pipeline.target, "DELETE FROM daily_sync_status WHERE kind = 'batch'")
        assert {result.outcome for result in syncing} == {Outcome.SUCCESS}
        assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
        (batch,) = rows(connection, "SELECT * FROM daily_sync_status WHERE kind = 'batch'")
        assert (batch["batch_key"], batch["success_count"]) == ("batch-1", 2)


class TestLateOutcomes:
    """Outcomes that are recorded after others."""

    def test_a_late_success_sets_the_rows_even_if_the_day_has_failed_since(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        worker = Worker(pipeline.target, run_id="run-2")
        worker.break_at(START)
        with transaction(pipeline.target) as cursor:
            attempts.record_outcome(cursor, _LATE, None, ended_ago=10.0)
        assert day_record(connection, START)["status"] == "failed"
        assert remaining(connection) == 7

    def test_a_late_success_does_not_replace_the_rows_of_a_newer_one(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        Worker(pipeline.target, run_id="run-2").sync(START, row_count=9)
        with transaction(pipeline.target) as cursor:
            attempts.record_outcome(cursor, _LATE, None, ended_ago=10.0)
        assert day_record(connection, START)["standing_rows"] == 9


def test_a_record_kept_by_another_program_says_which_rows_it_loaded(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    execute(
        connection,
        """INSERT INTO daily_sync_status
               (sync_date, status, total_records, success_count, remarks, dataset)
           VALUES (%s, 'success', 5, 5, '单日同步完成', 'orders')""",
        [START],
    )
    execute(connection, "UPDATE daily_sync_status SET status = 'failed'")
    connection.commit()
    assert day_record(connection, START)["standing_rows"] == 5


def test_with_separate_records_a_lost_success_is_shown_after_a_refusal(
    pipeline: Pipeline, make_database: Callable[[str | None], str], migrated_template: str
) -> None:
    """The worker that loaded the day died before it could record the success."""
    apart = Pipeline(pipeline.source, pipeline.target, make_database(migrated_template))
    assert apart.tracking is not None
    apart.sync([DAYS[1]], target=_APPEND)
    with Tracker(apart.settings, run_id="run-1", triggered_by="a test") as tracker:
        attempt = tracker.begin(DATASET, START, None, None)
    assert attempt is not None
    run(apart.target, f"INSERT INTO orders SELECT '{START}', n, n FROM generate_series(1, 7) n")
    (refused,) = apart.sync([START], run_id="run-2", target=_APPEND)
    assert refused.outcome is Outcome.FAILED
    with transaction(apart.tracking) as cursor:
        late = replace(helpers.outcome_of(attempt, counts(7)), seconds=0.1)
        attempts.record_outcome(cursor, late, None, ended_ago=0.5)
        found = day_record(cursor.connection, START)
        assert (found["status"], found["standing_rows"]) == ("success", 7)


def _source(**changes: Any) -> dict[str, Any]:
    return {
        "url_env": "SYNC_SOURCE_URL",
        "table": "orders_source",
        "day_column": "day",
    } | changes


def _replay(pipeline: Pipeline) -> list[ReplayResult]:
    with Tracker(pipeline.settings, run_id="run-9", triggered_by="a test") as tracker:
        return list(replay(pipeline.dataset(target=_QUARANTINE), pipeline.settings, tracker))


def _refuse(pipeline: Pipeline, run_id: str) -> None:
    attempt = Worker(pipeline.target, run_id=run_id).begin(START)
    refused = replace(
        helpers.outcome_of(attempt, NO_ROWS, "already has rows", run_id=run_id), refused=True
    )
    with transaction(pipeline.target) as cursor:
        attempts.record_outcome(cursor, refused, None)


def _shown(connection: "Connection") -> list[dict[str, Any]]:
    """Return what the days' records show, without what changes with each write."""
    ignored = ("updated_at", "change", "heartbeat_at")
    found = rows(
        connection, "SELECT * FROM daily_sync_status WHERE kind = 'day' ORDER BY sync_date"
    )
    return [{name: value for name, value in one.items() if name not in ignored} for one in found]
