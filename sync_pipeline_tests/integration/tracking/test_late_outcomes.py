"""Late outcomes are recorded exactly once, in the right attempt."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sync_pipeline.tracking.models import NO_ROWS, AttemptState, DayOutcome, Recorded
from sync_pipeline.tracking.state import attempts, batches
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    DATASET,
    START,
    Worker,
    as_requested,
    clock,
    counts,
    day_record,
    history,
    open_batch,
    record,
    rows,
    transaction,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(3)
SECONDS = 30.0
LATE = DayOutcome(
    dataset=DATASET,
    day=START,
    state=AttemptState.SUCCESS,
    run_id="run-1",
    triggered_by="a test",
    batch=None,
    seconds=SECONDS,
    counts=counts(7),
)


def record_late_success(worker: Worker, *, ended_ago: float = 0.0, **changes: Any) -> bool:
    with transaction(worker.url) as cursor:
        recorded = attempts.record_outcome(
            cursor, replace(LATE, **changes), worker.batch_id, ended_ago=ended_ago
        )
    return recorded is not Recorded.WAITING


def record_late_failure(worker: Worker, *, ended_ago: float = 0.0) -> bool:
    failed = {"counts": NO_ROWS, "state": AttemptState.FAILED, "error": "disk full"}
    return record_late_success(worker, ended_ago=ended_ago, **failed)


def at_day(connection: "Connection") -> list[tuple[int | None, str, bool]]:
    """Return the number and the state of each attempt for the day, and whether it is current."""
    found = history(connection, START)
    return [(one["attempt"], one["state"], not one["superseded"]) for one in found]


def counted(connection: "Connection", worker: Worker) -> tuple[int, int, int]:
    assert worker.batch is not None
    batch = record(connection, worker.batch.id)
    return batch["success_count"], batch["failed_count"], batch["skipped_count"]


LATE_OUTCOMES: list[Callable[..., bool]] = [record_late_success, record_late_failure]


class TestUnrecordedStart:
    """Days whose start could not be recorded."""

    def test_a_pending_day_of_the_batch_becomes_a_success(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        assert record_late_success(worker)
        assert at_day(connection) == [(1, "success", True)]
        day = day_record(connection, START)
        assert (day["status"], day["success_count"], day["attempt"]) == ("success", 7, 1)
        assert day["duration_seconds"] == SECONDS
        assert day["remarks"].startswith("单日同步完成: 2025-10-01, 读取7行")
        assert history(connection, START)[0]["duration_seconds"] == SECONDS
        assert counted(connection, worker) == (1, 0, 0)

    def test_a_pending_day_of_the_batch_becomes_a_failure(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        assert record_late_failure(worker)
        assert at_day(connection) == [(1, "failed", True)]
        day = day_record(connection, START)
        assert (day["status"], day["error_message"]) == ("failed", "disk full")
        assert counted(connection, worker) == (0, 1, 0)

    @pytest.mark.parametrize("record_late", LATE_OUTCOMES)
    def test_recording_it_twice_changes_nothing(
        self, worker: Worker, connection: "Connection", record_late: Callable[[Worker], bool]
    ) -> None:
        everything = "SELECT * FROM {} ORDER BY id"
        record_late(worker)
        before = [
            rows(connection, everything.format(table))
            for table in ("daily_sync_status", "sync_attempt")
        ]
        assert record_late(worker)
        after = [
            rows(connection, everything.format(table))
            for table in ("daily_sync_status", "sync_attempt")
        ]
        assert after == before

    @pytest.mark.parametrize("record_late", LATE_OUTCOMES)
    def test_a_day_without_a_batch_gets_a_record(
        self, database_url: str, connection: "Connection", record_late: Callable[[Worker], bool]
    ) -> None:
        assert record_late(Worker(database_url))
        [(number, state, _)] = at_day(connection)
        assert (number, state) == (1, day_record(connection, START)["status"])

    def test_a_success_replaces_a_recorded_failure_but_a_failure_does_not_replace_a_success(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.mark_not_run("the run was lost")
        assert record_late_success(worker)
        assert at_day(connection) == [(None, "failed", False), (1, "success", True)]
        assert counted(connection, worker) == (1, 2, 0)
        assert record_late_failure(worker)
        assert at_day(connection)[1:] == [(1, "success", True)]

    @pytest.mark.parametrize(("run_id", "status"), [("run-1", "success"), ("run-2", "failed")])
    def test_a_success_that_seems_to_end_before_a_failure_replaces_it_only_in_the_same_run(
        self, worker: Worker, connection: "Connection", run_id: str, status: str
    ) -> None:
        worker.fail(worker.begin(START), "lock timeout")
        assert record_late_success(worker, run_id=run_id, seconds=0.006, ended_ago=60)
        assert at_day(connection) == [(1, "failed", False), (2, "success", True)]
        day = day_record(connection, START)
        assert (day["status"], day["attempt"]) == (status, 2 if status == "success" else 1)


class TestOwnAttempt:
    """Days whose start was recorded by the run but whose end could not be recorded."""

    @pytest.mark.parametrize("number", [None, 1])
    def test_the_running_attempt_becomes_a_success(
        self, worker: Worker, connection: "Connection", number: int | None
    ) -> None:
        worker.begin(START)
        assert record_late_success(worker, number=number)
        assert at_day(connection) == [(1, "success", True)]
        assert day_record(connection, START)["status"] == "success"
        assert counted(connection, worker) == (1, 0, 0)

    def test_an_attempt_closed_because_its_worker_was_presumed_dead_becomes_a_success(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.begin(START)
        worker.fail_run("presumed dead")
        assert record_late_success(worker, number=1)
        assert at_day(connection) == [(1, "success", True)]
        assert history(connection, START)[0]["error_message"] is None
        assert day_record(connection, START)["status"] == "success"

    def test_a_pending_retry_of_the_day_is_skipped(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.begin(START)
        worker.fail_run("presumed dead")
        assert worker.batch is not None
        with transaction(worker.url) as cursor:
            new = as_requested(worker.batch, DAYS)
            assert batches.retry_days(cursor, worker.batch.id, new, DAYS, clock(cursor))
        assert record_late_success(worker, number=1)
        assert at_day(connection) == [(1, "success", False), (None, "skipped", True)]
        assert counted(connection, worker) == (0, 0, 1)

    def test_the_running_attempt_becomes_a_failure(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.begin(START)
        assert record_late_failure(worker)
        assert at_day(connection) == [(1, "failed", True)]
        assert day_record(connection, START)["error_message"] == "disk full"


class TestOtherRuns:
    """Days that another run is syncing or has synced in the meantime."""

    @pytest.fixture
    def other(self, worker: Worker) -> Worker:
        return Worker(worker.url, open_batch(worker.url, DAYS, "other"), run_id="other")

    @pytest.mark.parametrize("record_late", LATE_OUTCOMES)
    def test_it_waits_while_another_run_is_syncing_the_day(
        self,
        worker: Worker,
        other: Worker,
        connection: "Connection",
        record_late: Callable[[Worker], bool],
    ) -> None:
        attempt = other.begin(START)
        before = rows(connection, "SELECT * FROM sync_attempt ORDER BY id")
        assert not record_late(worker)
        assert rows(connection, "SELECT * FROM sync_attempt ORDER BY id") == before
        other.succeed(attempt)
        assert record_late(worker)

    def test_its_own_attempt_is_closed_while_another_run_is_syncing_the_day(
        self, worker: Worker, other: Worker, connection: "Connection"
    ) -> None:
        worker.begin(START)
        theirs = other.begin(START)  # right after our commit released the lock
        assert record_late_success(worker, number=1)
        assert at_day(connection) == [(1, "success", True), (2, "syncing", True)]
        assert counted(connection, worker) == (1, 0, 0)
        other.succeed(theirs)
        assert day_record(connection, START)["run_id"] == "other"

    @pytest.mark.parametrize("record_late", LATE_OUTCOMES)
    def test_a_later_result_of_the_day_is_kept(
        self,
        worker: Worker,
        other: Worker,
        connection: "Connection",
        record_late: Callable[..., bool],
    ) -> None:
        other.sync(START)
        assert record_late(worker, ended_ago=60)
        day = day_record(connection, START)
        assert (day["status"], day["success_count"], day["run_id"]) == ("success", 100, "other")
        assert day["attempt"] == 1
        assert [number for number, *_ in at_day(connection)] == [2, 1]
        assert sum(counted(connection, worker)) == 1
        other = replace(other, run_id="run-3", batch=None)
        assert other.begin(START).number == 3

    def test_an_attempt_ends_no_later_than_the_next_one_starts(
        self, worker: Worker, other: Worker, connection: "Connection"
    ) -> None:
        own = worker.begin(START)
        other.sync(START)
        assert record_late_success(worker, number=own.number, ended_ago=-60)
        first, second = history(connection, START)
        assert (first["state"], second["state"]) == ("success", "success")
        assert first["ended_at"] == second["started_at"]

    def test_the_intervals_of_two_late_outcomes_do_not_overlap(
        self, database_url: str, connection: "Connection"
    ) -> None:
        first, second = Worker(database_url), Worker(database_url, run_id="run-2")
        record_late_success(first, ended_ago=20)  # 10 s later than it really ended
        record_late_success(second, ended_ago=0, run_id="run-2")
        earlier, later = rows(connection, "SELECT * FROM sync_attempt ORDER BY started_at")
        assert later["started_at"] == earlier["ended_at"]

    def test_a_late_outcome_ends_no_later_than_an_attempt_that_was_recorded_before_it(
        self, database_url: str, connection: "Connection"
    ) -> None:
        other = Worker(database_url, run_id="run-2")
        other.sync(START)
        record_late_success(Worker(database_url))
        earlier, later = rows(connection, "SELECT * FROM sync_attempt ORDER BY started_at")
        assert [earlier["attempt"], later["attempt"]] == [2, 1]
        assert earlier["ended_at"] == later["started_at"]

    def test_an_earlier_result_of_the_day_is_replaced(
        self, worker: Worker, other: Worker, connection: "Connection"
    ) -> None:
        other.break_at(START)
        assert record_late_success(worker, ended_ago=-60)
        day = day_record(connection, START)
        assert (day["status"], day["run_id"], day["attempt"]) == ("success", "run-1", 2)
        assert other.begin(START).number == 3

    def test_a_success_of_another_run_of_the_batch_stays_current(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        Worker(worker.url, worker.batch, run_id="again").sync(START)
        assert record_late_success(worker)
        assert record_late_failure(worker)
        assert at_day(connection) == [(1, "success", True), (2, "success", False)]
        assert counted(connection, worker) == (1, 0, 0)


class TestRefusals:
    """Days that could not start, for example because another run held the lock."""

    def test_repeating_a_refusal_does_not_close_a_retry_of_the_day(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        assert worker.batch is not None
        worker.refuse(START)
        with transaction(worker.url) as cursor:
            new = as_requested(worker.batch, DAYS)
            assert batches.retry_days(cursor, worker.batch.id, new, DAYS, clock(cursor))
        worker.refuse(START)
        assert at_day(connection) == [(None, "failed", False), (None, "pending", True)]

    def test_a_late_refusal_replaces_neither_a_success_nor_a_later_failure(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        Worker(worker.url, worker.batch, run_id="again").sync(START)
        Worker(worker.url, worker.batch, run_id="again").break_at(DAYS[1])
        for day in (START, DAYS[1]):
            refused = {"day": day, "seconds": None, "error": "held", "counts": NO_ROWS}
            record_late_success(worker, ended_ago=60, state=AttemptState.FAILED, **refused)
        assert at_day(connection) == [(1, "success", True), (None, "failed", False)]
        assert [a["superseded"] for a in history(connection, DAYS[1])] == [False, True]
        assert counted(connection, worker) == (1, 1, 0)

    def test_a_refusal_is_recorded_with_the_time_at_which_it_happened(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        refused = {"seconds": None, "error": "held", "counts": NO_ROWS}
        record_late_success(worker, ended_ago=3600, state=AttemptState.FAILED, **refused)
        with transaction(worker.url) as cursor:
            now = clock(cursor)
        (attempt,) = history(connection, START)
        assert timedelta(hours=1) <= now - attempt["ended_at"] < timedelta(hours=1, minutes=1)


def test_an_outcome_is_not_written_to_an_attempt_for_another_day(
    worker: Worker, connection: "Connection"
) -> None:
    other = worker.begin(DAYS[1])
    assert record_late_success(worker, attempt_id=other.id, number=other.number)
    assert at_day(connection) == [(1, "success", True)]
    assert history(connection, DAYS[1])[0]["state"] == "syncing"


def test_the_end_time_does_not_depend_on_how_long_the_database_takes_to_record_it(
    worker: Worker, connection: "Connection"
) -> None:
    with transaction(worker.url) as cursor:
        sent = clock(cursor)
        attempts.record_outcome(cursor, LATE, worker.batch_id, before="SELECT pg_sleep(0.5); ")
    assert history(connection, START)[0]["ended_at"] - sent < timedelta(seconds=0.5)
