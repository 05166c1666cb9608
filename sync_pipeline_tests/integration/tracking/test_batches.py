"""A batch has one record, which agrees with its days no matter who writes it or when."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.errors import DayDoneError
from sync_pipeline.tracking.models import Attempt, BatchSpec
from sync_pipeline.tracking.state import attempts, batches
from sync_pipeline.tracking.worker import workers
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    DATASET,
    START,
    Worker,
    at_once,
    execute,
    history,
    in_thread,
    open_batch,
    record,
    rows,
    succeed,
    transaction,
    wait_until_blocked,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(10)


def of_batch(connection: "Connection", worker: Worker) -> dict[str, Any]:
    assert worker.batch_id is not None
    return record(connection, worker.batch_id)


def counted(batch: dict[str, Any]) -> tuple[str, int, int, int]:
    return batch["status"], batch["success_count"], batch["failed_count"], batch["skipped_count"]


def test_a_heartbeat_updates_a_record_that_is_behind(
    database_url: str, connection: "Connection"
) -> None:
    worker = Worker(database_url, open_batch(database_url, DAYS))
    process = workers.this_process(worker.run_id)
    with transaction(database_url) as cursor:
        workers.register(cursor, process)
    quick = worker.begin(DAYS[0])
    with transaction(database_url) as cursor:
        succeed(cursor, quick, helpers.counts(100), project=False)
    worker.begin(DAYS[1])
    assert counted(of_batch(connection, worker)) == ("syncing", 0, 0, 0)
    with transaction(database_url) as cursor:
        assert workers.beat(cursor, process)
    assert counted(of_batch(connection, worker)) == ("syncing", 1, 0, 0)


def test_a_batch_opened_by_many_workers_at_the_same_time_has_one_record(
    database_url: str, connection: "Connection"
) -> None:
    opened = at_once([partial(open_batch, database_url, DAYS) for _ in range(8)])
    assert len(set(opened)) == 1
    assert rows(connection, "SELECT id FROM daily_sync_status") == [{"id": opened[0].id}]
    planned = rows(connection, "SELECT sync_date, state FROM sync_attempt ORDER BY sync_date")
    assert planned == [{"sync_date": day, "state": "pending"} for day in DAYS]


def test_the_same_key_in_two_datasets_is_two_batches(
    worker: Worker, connection: "Connection"
) -> None:
    other = Worker(
        worker.url, open_batch(worker.url, DAYS[:2], dataset="customers"), dataset="customers"
    )
    other.sync(*DAYS[:2])
    assert counted(of_batch(connection, other)) == ("success", 2, 0, 0)
    assert counted(of_batch(connection, worker)) == ("syncing", 0, 0, 0)


def test_a_batch_without_days_cannot_be_opened(database_url: str) -> None:
    with pytest.raises(ValueError, match="batch nothing has no days"):
        open_batch(database_url, [], "nothing")


def test_a_batch_with_gaps_counts_only_its_days(
    database_url: str, connection: "Connection"
) -> None:
    scattered = [DAYS[9], DAYS[0], DAYS[4], DAYS[0]]
    worker = Worker(database_url, open_batch(database_url, scattered))
    opened = of_batch(connection, worker)
    assert (opened["total_days"], opened["start_date"], opened["end_date"]) == (3, START, DAYS[9])
    assert opened["remarks"] == "批量同步: 2025-10-01 至 2025-10-10, 共3天"

    worker.sync(*set(scattered))
    closed = of_batch(connection, worker)
    assert counted(closed) == ("success", 3, 0, 0)
    assert closed["remarks"].startswith("批量同步完成: 2025-10-01至2025-10-10, 共3天, 成功3, ")


def test_days_that_join_a_batch_later_extend_its_range(
    worker: Worker, connection: "Connection"
) -> None:
    worker.sync(*DAYS, DAYS[9] + timedelta(days=4))
    widened = of_batch(connection, worker)
    assert counted(widened) == ("success", 11, 0, 0)
    assert (widened["total_days"], widened["end_date"]) == (11, date(2025, 10, 14))
    assert widened["sync_date"] == date(2025, 10, 7)


class TestRemarks:
    """The remarks and the error message of a batch at each stage."""

    def test_a_running_batch_counts_the_days_that_have_ended(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.skip(DAYS[0])
        worker.sync(*DAYS[1:3], row_count=50)
        worker.break_at(DAYS[3])
        batch = of_batch(connection, worker)
        assert counted(batch) == ("syncing", 2, 1, 1)
        assert batch["remarks"] == "批量同步进度: 4/10天, 成功2, 失败1, 跳过1"
        assert batch["total_records"] == 100
        assert (batch["end_time"], batch["duration_seconds"]) == (None, None)
        assert batch["error_message"].startswith("1 of 10 days failed: 2025-10-04. ")

    def test_a_finished_batch_has_its_counts_and_its_duration_even_if_days_failed(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.skip(DAYS[0])
        worker.sync(*DAYS[1:5])
        worker.break_at(DAYS[8], *DAYS[5:7])
        back = "UPDATE daily_sync_status SET start_time = start_time - interval '125 s'"
        execute(connection, f"{back} WHERE kind = 'batch'")
        worker.sync(DAYS[7], DAYS[9])

        batch = of_batch(connection, worker)
        assert counted(batch) == ("failed", 6, 3, 1)
        seconds = batch["duration_seconds"]
        assert 125 <= seconds < 125 + helpers.TIMEOUT_SECONDS
        assert batch["remarks"] == (
            "批量同步完成: 2025-10-01至2025-10-10, 共10天, 成功6, 失败3, 跳过1, "
            f"耗时{seconds // 60}分{seconds % 60}秒"
        )
        assert batch["error_message"] == (
            "3 of 10 days failed: 2025-10-06..2025-10-07, 2025-10-09. First: 2025-10-06: disk full"
        )

    def test_a_batch_that_stopped_early_says_why_after_the_first_failed_day(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.sync(*DAYS[:4])
        worker.break_at(DAYS[4])
        assert worker.mark_not_run("the source is unavailable") == 5
        batch = of_batch(connection, worker)
        assert counted(batch) == ("failed", 4, 6, 0)
        assert batch["remarks"] == "批量同步失败: the source is unavailable"
        assert batch["error_message"] == (
            "6 of 10 days failed: 2025-10-05..2025-10-10. First: 2025-10-05: disk full. "
            "Not run: 2025-10-06..2025-10-10: the source is unavailable"
        )


class TestRetry:
    """A failed batch whose failed days are retried under the same key."""

    @pytest.fixture
    def worker(self, worker: Worker) -> Worker:
        worker.sync(*DAYS[:8])
        worker.break_at(*DAYS[8:])
        return worker

    def test_it_is_reopened_then_succeeds_and_keeps_its_history(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        assert counted(of_batch(connection, worker)) == ("failed", 8, 2, 0)
        retrying = Worker(worker.url, open_batch(worker.url, DAYS), run_id="run-2")
        assert retrying.batch_id == worker.batch_id

        attempt = retrying.begin(DAYS[8])
        reopened = of_batch(connection, worker)
        assert counted(reopened) == ("syncing", 8, 1, 0)
        assert reopened["remarks"] == "批量同步进度: 9/10天, 成功8, 失败1, 跳过0"
        assert (reopened["end_time"], reopened["duration_seconds"]) == (None, None)

        retrying.succeed(attempt)
        retrying.sync(DAYS[9])
        closed = of_batch(connection, worker)
        assert counted(closed) == ("success", 10, 0, 0)
        assert closed["error_message"] is None
        assert closed["total_records"] == 1000
        found = [(a["run_id"], a["state"], a["superseded"]) for a in history(connection, DAYS[9])]
        assert found == [("run-1", "failed", True), ("run-2", "success", False)]

    def test_days_that_have_since_been_synced_elsewhere_are_skipped(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        Worker(worker.url, run_id="nightly").sync(*DAYS[8:])
        worker.skip(*DAYS)
        closed = of_batch(connection, worker)
        assert counted(closed) == ("success", 8, 0, 2)
        assert [a["state"] for a in history(connection, DAYS[9])] == [
            "failed", "success", "skipped",
        ]  # fmt: skip


def test_two_workers_that_finish_at_the_same_time_are_both_counted_and_close_the_batch_once(
    worker: Worker, connection: "Connection"
) -> None:
    worker.sync(*DAYS[:8])
    first, second = (worker.begin(day) for day in DAYS[8:])
    with transaction(worker.url) as one:
        worker.succeed_in(one, first)
        with in_thread(partial(worker.succeed, second)) as other:
            wait_until_blocked(connection, one.connection.info.backend_pid)
            one.connection.commit()
            other.result(helpers.TIMEOUT_SECONDS)
    closed = of_batch(connection, worker)
    assert counted(closed) == ("success", 10, 0, 0)
    assert closed["total_records"] == 1000


def test_projecting_a_closed_batch_does_not_change_its_end(
    worker: Worker, connection: "Connection"
) -> None:
    worker.sync(*DAYS)
    closed = projected(of_batch(connection, worker))
    at_once([worker.project] * 4)
    assert projected(of_batch(connection, worker)) == closed


def projected(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the values computed from the days: all but heartbeat, update time, change number."""
    return {k: v for k, v in batch.items() if k not in ("updated_at", "heartbeat_at", "change")}


@pytest.fixture(scope="module")
def rolled_back(one_database: str) -> Iterator["Connection"]:
    """Yield a connection that many examples share and on which nothing is ever committed."""
    with closing(psycopg2.connect(one_database)) as opened:
        yield opened


some_days = st.dates(date(1, 1, 1), date(9999, 12, 31))


@settings(max_examples=60, deadline=None)
@given(st.lists(some_days, min_size=1, max_size=5))
def test_the_sync_date_of_a_batch_is_the_middle_of_its_range_rounded_down(
    rolled_back: "Connection", of: list[date]
) -> None:
    with rolled_back.cursor() as cursor:
        batch_id = batches.open_batch(cursor, BatchSpec("key", DATASET, of))
    found = record(rolled_back, batch_id)
    rolled_back.rollback()
    start, middle, end = found["start_date"], found["sync_date"], found["end_date"]
    assert (start, end) == (min(of), max(of))
    assert (end - middle) - (middle - start) in (timedelta(0), timedelta(days=1))


@pytest.mark.parametrize(
    ("start", "end", "middle"),
    [
        ("2025-10-01", "2025-10-10", "2025-10-05"),  # the specification's example
        ("2025-10-01", "2025-10-01", "2025-10-01"),
        ("2025-10-01", "2025-10-02", "2025-10-01"),
        ("2024-02-28", "2024-03-01", "2024-02-29"),
        ("2025-12-31", "2026-01-01", "2025-12-31"),
    ],
)
def test_the_sync_date_of_a_batch_is_as_in_the_specifications_example(
    rolled_back: "Connection", start: str, end: str, middle: str
) -> None:
    of = [date.fromisoformat(start), date.fromisoformat(end)]
    with rolled_back.cursor() as cursor:
        batch_id = batches.open_batch(cursor, BatchSpec("key", DATASET, of))
    found = record(rolled_back, batch_id)
    rolled_back.rollback()
    assert found["sync_date"] == date.fromisoformat(middle)


FEW = DAYS[:4]
steps = st.tuples(
    st.sampled_from(["succeed", "break", "begin", "skip", "refuse", "stop", "stop run"]),
    st.sampled_from(FEW),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=12))
def test_the_record_agrees_with_the_days_after_any_events(
    rolled_back: "Connection", events: list[tuple[str, date]]
) -> None:
    with rolled_back.cursor() as cursor:
        batches.open_batch(cursor, BatchSpec("key", DATASET, FEW))
        scenario = Scenario(cursor, Worker("", batches.find_batch(cursor, "key", DATASET)))
        for what, day in events:
            scenario.apply(what, day)
            scenario.check_record()
    rolled_back.rollback()


class Scenario:
    """Applies events to the days of a batch, and checks its record against the expected states."""

    def __init__(self, cursor: "Cursor", worker: Worker) -> None:
        assert worker.batch is not None
        self.cursor = cursor
        self.worker = worker
        self.batch_id = worker.batch.id
        self.states: dict[date, str] = dict.fromkeys(FEW, "pending")

    def apply(self, what: str, day: date) -> None:
        match what:
            case "begin" | "succeed" | "break" if self.is_done(day):
                self.cursor.execute("SAVEPOINT begun")
                with pytest.raises(DayDoneError):
                    self.worker.begin_in(self.cursor, day)
                self.cursor.execute("ROLLBACK TO SAVEPOINT begun")
            case "begin":
                self.begin(day)
            case "succeed":
                self.worker.succeed_in(self.cursor, self.begin(day), 10)
                self.states[day] = "success"
            case "break":
                helpers.fail(self.cursor, self.begin(day), "disk full")
                self.states[day] = "failed"
            case "skip":
                attempts.skip(self.cursor, self.batch_id, [day], None)
                self.close("skipped", [day], of=("pending", "failed"))
            case "refuse":
                helpers.refuse(self.cursor, day, "held", self.batch_id, None)
                self.close("failed", [day], of=("pending",))
            case "stop":
                batches.mark_not_run(self.cursor, self.batch_id, "lost")
                self.close("failed", FEW, of=("pending", "syncing"))
            case "stop run":
                attempts.fail_run(self.cursor, self.worker.run_id, "lost")
                self.close("failed", FEW, of=("syncing",))

    def is_done(self, day: date) -> bool:
        synced = attempts.synced_days(self.cursor, DATASET, [day])
        return bool(synced) and self.states[day] in ("success", "skipped")

    def begin(self, day: date) -> Attempt:
        self.states[day] = "syncing"
        return self.worker.begin_in(self.cursor, day)

    def close(self, state: str, days: list[date], of: tuple[str, ...]) -> None:
        self.states |= {day: state for day in days if self.states[day] in of}

    def check_record(self) -> None:
        batches.project(self.cursor, self.batch_id)
        found = self.found()
        by_state = [list(self.states.values()).count(s) for s in ("success", "failed", "skipped")]
        done = sum(by_state)
        status = "syncing" if done < len(FEW) else "failed" if by_state[1] else "success"
        assert counted(found) == (status, *by_state)
        assert found["total_records"] == 10 * by_state[0]
        assert (found["error_message"] is None) == (by_state[1] == 0)
        assert (found["end_time"] is None) == (status == "syncing")
        # The values depend only on the days, not on previous values or on how often it is computed.
        self.cursor.execute(
            "UPDATE daily_sync_status SET remarks = '批量同步?', error_message = '?',"
            " total_records = 99, start_date = sync_date, end_date = sync_date WHERE id = %s",
            [self.batch_id],
        )
        for _ in range(2):
            batches.project(self.cursor, self.batch_id)
            assert self.found() == found

    def found(self) -> dict[str, Any]:
        return projected(record(self.cursor.connection, self.batch_id))
