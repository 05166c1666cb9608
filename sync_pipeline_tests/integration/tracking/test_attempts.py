"""Attempts are numbered, and only the latest attempt for a day may record the day's result."""

import random
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from sync_pipeline.errors import DayDoneError, SupersededError
from sync_pipeline.tracking.state import attempts
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    START,
    Worker,
    at_once,
    day_record,
    everything,
    execute,
    history,
    in_thread,
    open_batch,
    record,
    rows,
    states,
    transaction,
    wait_until_blocked,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(4)

# Day records whose status differs from the state of their latest attempt.
DISAGREEING = """
SELECT * FROM daily_sync_status record LEFT JOIN sync_attempt USING (dataset, sync_date, attempt)
WHERE record.kind = 'day' AND record.status IS DISTINCT FROM sync_attempt.state
"""


def test_attempts_at_a_day_are_numbered_across_batches_and_workers(
    database_url: str, connection: "Connection"
) -> None:
    first, second = (
        Worker(database_url, open_batch(database_url, DAYS, key)) for key in ("one", "two")
    )
    elsewhere = Worker(database_url, dataset="customers")
    first.sync(START)
    Worker(database_url).break_at(START)
    second.sync(START)

    assert Worker(database_url).begin(START).number == 4
    assert first.begin(DAYS[1]).number == 1
    assert elsewhere.begin(START).number == 1
    assert day_record(connection, START)["attempt"] == 4


def test_interrupted_days_of_a_run_say_who_interrupted_them(
    worker: Worker, connection: "Connection"
) -> None:
    interrupted = "cancelled while running"
    worker.break_at(DAYS[0], DAYS[1], error=interrupted)
    worker.break_at(DAYS[2])
    Worker(worker.url, run_id="run-2").break_at(DAYS[3], error=interrupted)
    Worker(worker.url, run_id="run-2").sync(DAYS[1])
    for _ in range(2):
        with transaction(worker.url) as cursor:
            attempts.explain_interrupted(cursor, worker.run_id, interrupted, "stopped by ada")
    explained = "stopped by ada; the day was running and was rolled back"
    errors = [day_record(connection, day)["error_message"] for day in DAYS]
    assert errors == [explained, None, "disk full", interrupted]
    assert day_record(connection, DAYS[0])["remarks"] == f"单日同步失败: {explained}"
    assert history(connection, DAYS[1])[0]["error_message"] == explained
    assert worker.batch is not None
    assert explained in record(connection, worker.batch.id)["error_message"]


def test_numbers_continue_if_the_record_of_a_day_was_deleted(
    database_url: str, connection: "Connection"
) -> None:
    worker = Worker(database_url)
    worker.sync(START)
    execute(connection, "DELETE FROM daily_sync_status WHERE kind = 'day'")
    worker.sync(START)
    assert [attempt["attempt"] for attempt in history(connection, START)] == [1, 2]
    assert day_record(connection, START)["attempt"] == 2


@pytest.mark.parametrize("in_batch", [True, False])
def test_a_success_records_its_rows_and_its_duration(
    worker: Worker, connection: "Connection", in_batch: bool
) -> None:
    worker = worker if in_batch else Worker(worker.url)
    attempt = worker.begin(START)
    assert states(connection)[-1] == (1, "syncing", True)
    assert day_record(connection, START)["status"] == "syncing"
    assert day_record(connection, START)["remarks"] == "单日同步: 2025-10-01"

    worker.succeed(attempt, 70)

    done, day = history(connection, START)[-1], day_record(connection, START)
    assert (done["state"], done["attempt"], done["run_id"]) == ("success", 1, "run-1")
    assert (done["rows_read"], done["rows_loaded"], done["bytes"]) == (70, 70, 700)
    assert 0 <= done["duration_seconds"] < 60
    assert (day["status"], day["total_records"], day["success_count"]) == ("success", 70, 70)
    assert day["remarks"] == "单日同步完成: 2025-10-01, 读取70行, 写入70行, 拒绝0行"
    assert day["end_time"] == done["ended_at"]
    assert day["duration_seconds"] == int(done["duration_seconds"])


def test_a_failure_records_its_error_and_a_later_success_clears_it(
    worker: Worker, connection: "Connection"
) -> None:
    worker.break_at(START, error="批量同步 of the source: disk full")
    day = day_record(connection, START)
    assert (day["status"], day["error_message"]) == ("failed", "批量同步 of the source: disk full")
    assert day["remarks"] == "单日同步失败: 批量 同步 of the source: disk full"
    assert history(connection, START)[0]["error_message"] == day["error_message"]

    worker.sync(START)
    day = day_record(connection, START)
    assert (day["status"], day["error_message"], day["attempt"]) == ("success", None, 2)
    assert states(connection) == [(1, "failed", False), (2, "success", True)]


def test_a_skipped_day_keeps_its_record(worker: Worker, connection: "Connection") -> None:
    Worker(worker.url).sync(START)
    before = day_record(connection, START)
    worker.skip(START)
    assert states(connection)[0] == (None, "skipped", True)
    assert day_record(connection, START) == before


def test_only_pending_days_are_skipped(worker: Worker, connection: "Connection") -> None:
    worker.sync(START)
    worker.begin(DAYS[1])
    worker.skip(*DAYS[:2])
    assert states(connection) == [(1, "success", True)]
    assert states(connection, DAYS[1]) == [(1, "syncing", True)]


def test_synced_days_are_those_whose_latest_attempt_succeeded(worker: Worker) -> None:
    worker.sync(*DAYS[:2])
    worker.break_at(DAYS[2])
    Worker(worker.url).break_at(DAYS[1])
    with transaction(worker.url) as cursor:
        assert set(attempts.synced_days(cursor, helpers.DATASET, DAYS)) == {START}


@pytest.mark.parametrize("later_has_ended", [True, False])
def test_a_superseded_success_is_rejected_and_changes_nothing(
    worker: Worker, connection: "Connection", later_has_ended: bool
) -> None:
    early = worker.begin(START)
    late = Worker(worker.url, open_batch(worker.url, DAYS, "later"), run_id="run-2")
    later_attempt = late.begin(START)
    if later_has_ended:
        late.succeed(later_attempt, 7)
    before = everything(connection)

    with pytest.raises(SupersededError, match="dataset orders, day 2025-10-01: attempt 1 "):
        worker.succeed(early)
    worker.fail(early)

    after = everything(connection)
    unchanged = ("updated_at", "heartbeat_at")
    assert [without(row, *unchanged) for row in after] == [
        without(row, *unchanged) for row in before
    ]


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def test_an_attempt_that_lost_its_lock_is_closed_by_the_next_one_and_fails_in_its_batch(
    worker: Worker, connection: "Connection"
) -> None:
    assert worker.batch_id is not None
    worker.begin(START)
    Worker(worker.url, run_id="run-2").begin(START)

    lost = history(connection, START)[0]
    assert (lost["state"], lost["superseded"]) == ("failed", False)
    assert lost["error_message"] == "superseded: attempt 2 started after this one lost the lock"
    assert record(connection, worker.batch_id)["failed_count"] == 1
    assert day_record(connection, START)["status"] == "syncing"


def test_recording_a_success_twice_changes_nothing(
    worker: Worker, connection: "Connection"
) -> None:
    attempt = worker.begin(START)
    worker.succeed(attempt)
    before = (
        without(day_record(connection, START), "updated_at", "change"),
        history(connection, START),
    )
    worker.succeed(attempt)
    worker.fail(attempt, "the response to the commit was lost")
    assert before == (
        without(day_record(connection, START), "updated_at", "change"),
        history(connection, START),
    )


def test_recording_a_success_again_after_a_later_attempt_started_is_rejected(
    worker: Worker, connection: "Connection"
) -> None:
    attempt = worker.begin(START)
    worker.succeed(attempt)
    Worker(worker.url, run_id="run-2").begin(START)
    with pytest.raises(SupersededError):
        worker.succeed(attempt)
    assert day_record(connection, START)["status"] == "syncing"


class TestRefused:
    """A day that could not start because another worker holds its lock."""

    def test_it_fails_in_the_batch_and_its_record_is_left_to_the_other_worker(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        assert worker.batch_id is not None
        holder = Worker(worker.url, run_id="run-2")
        attempt = holder.begin(START)
        before = day_record(connection, START)
        worker.refuse(START)
        worker.refuse(START, "and again")

        assert states(connection) == [
            (None, "failed", False), (1, "syncing", True), (None, "failed", True),
        ]  # fmt: skip
        assert record(connection, worker.batch_id)["failed_count"] == 1
        assert day_record(connection, START) == before
        holder.succeed(attempt)

    def test_without_a_batch_only_an_attempt_is_recorded(
        self, database_url: str, connection: "Connection"
    ) -> None:
        Worker(database_url).refuse(START)
        (refused,) = history(connection, START)
        assert (refused["state"], refused["error_message"]) == ("failed", "another worker has it")
        assert rows(connection, "SELECT FROM daily_sync_status") == []

    def test_it_does_not_replace_the_running_attempt_of_the_same_batch(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        assert worker.batch_id is not None
        attempt = worker.begin(START)
        replace(worker, run_id="run-2").refuse(START)
        worker.succeed(attempt)
        assert states(connection) == [(1, "success", True), (None, "failed", False)]
        batch = record(connection, worker.batch_id)
        assert (batch["success_count"], batch["failed_count"]) == (1, 0)


class TestNotRun:
    """When a run or a batch is over, its unfinished days are closed."""

    def test_a_run_closes_its_running_attempts_and_nothing_else(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.sync(DAYS[0])
        attempt = worker.begin(DAYS[1])
        replace(worker, run_id="run-2").begin(DAYS[2])

        assert worker.fail_run("the run was killed") == 1
        assert worker.fail_run("the run was killed") == 0

        current = [states(connection, day)[0][1] for day in DAYS]
        assert current == ["success", "failed", "syncing", "pending"]
        day = day_record(connection, DAYS[1])
        assert (day["status"], day["error_message"]) == ("failed", "the run was killed")
        with pytest.raises(SupersededError, match="was closed"):
            worker.succeed(attempt)

    @pytest.mark.parametrize(
        ("only", "run_id", "closed"),
        [
            (None, None, [1, 2, 3]),
            (None, "run-1", [1, 3]),
            (DAYS[2:], None, [2, 3]),
            (DAYS[1:3], "run-1", [1]),
            ([], None, []),
        ],
    )
    def test_unfinished_days_of_a_batch_can_be_closed_by_day_and_by_run(
        self,
        worker: Worker,
        connection: "Connection",
        only: list[date] | None,
        run_id: str | None,
        closed: list[int],
    ) -> None:
        worker.sync(DAYS[0])
        worker.begin(DAYS[1])
        replace(worker, run_id="run-2").begin(DAYS[2])

        assert worker.mark_not_run("power failed", only, run_id) == len(closed)

        before = dict(enumerate(["success", "syncing", "syncing", "pending"]))
        assert [states(connection, day)[0][1] for day in DAYS] == [
            "failed" if n in closed else state for n, state in before.items()
        ]

    def test_the_error_of_a_day_that_never_started_says_that_it_was_not_run(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.begin(DAYS[0])
        worker.mark_not_run("power failed")
        errors = [history(connection, day)[0]["error_message"] for day in DAYS[:2]]
        assert errors == ["power failed", "not run: power failed"]
        of_days = "SELECT sync_date FROM daily_sync_status WHERE kind = 'day'"
        assert rows(connection, of_days) == [{"sync_date": DAYS[0]}]

    def test_a_day_that_starts_in_the_meantime_is_left_to_its_worker(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.begin(DAYS[0])
        with transaction(worker.url) as held:
            held.execute("SELECT FROM daily_sync_status WHERE kind = 'day' FOR UPDATE")
            with in_thread(partial(worker.mark_not_run, "power failed")) as closing:
                # The thread has read the second day as pending, and waits for the first day's lock.
                wait_until_blocked(connection, held.connection.info.backend_pid)
                attempt = replace(worker, run_id="run-2").begin(DAYS[1])
                held.connection.commit()
                closing.result(helpers.TIMEOUT_SECONDS)

        assert states(connection, DAYS[1]) == [(1, "syncing", True)]
        replace(worker, run_id="run-2").succeed(attempt)
        assert day_record(connection, DAYS[1])["status"] == "success"


class TestConcurrency:
    """Many workers at once, some of which have lost their lock without noticing."""

    def test_a_day_never_has_more_than_one_syncing_attempt(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        started = at_once([partial(worker.begin, START) for _ in range(8)])
        assert sorted(attempt.number for attempt in started) == list(range(1, 9))
        found = states(connection)
        assert [state for _, state, _ in found].count("syncing") == 1
        assert [number for number, state, _ in found if state == "syncing"] == [8]
        assert [current for _, _, current in found].count(True) == 1

    def test_workers_on_the_same_days_of_the_same_batches_never_deadlock(
        self, database_url: str, connection: "Connection"
    ) -> None:
        batches = [open_batch(database_url, DAYS, key) for key in ("one", "two")]
        # After this, the rows are no longer stored in ID order.
        execute(connection, "UPDATE sync_attempt SET triggered_by = 'moved' WHERE id % 2 = 0")
        work = [
            partial(change_at_random, Worker(database_url, batches[n % 2], f"run-{n}"), seed=n)
            for n in range(6)
        ]
        assert sum(at_once(work)) > 0
        for batch in batches:
            worker = Worker(database_url, batch)
            worker.mark_not_run("the end")
            closed = record(connection, batch.id)
            done = closed["success_count"] + closed["failed_count"] + closed["skipped_count"]
            assert (closed["status"] != "syncing", done) == (True, 4)
        assert rows(connection, DISAGREEING) == []


def change_at_random(worker: Worker, seed: int) -> int:
    """Attempt 40 random changes; return how many of them synced a day."""
    choice = random.Random(seed)  # noqa: S311  not for secrets
    synced = 0
    for _ in range(40):
        day = choice.choice(DAYS)
        try:
            match choice.randrange(8):
                case 0:
                    worker.mark_not_run("stopped")
                case 1:
                    worker.fail_run("stopped")
                case 2:
                    worker.skip(*choice.sample(DAYS, 3))
                case 3:
                    worker.refuse(day)
                case 4:
                    worker.break_at(day)
                case _:
                    worker.sync(day)
                    synced += 1
        except (SupersededError, DayDoneError, psycopg2.errors.UniqueViolation):
            continue  # another worker was faster
    return synced
