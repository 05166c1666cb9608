"""The tracking tables are correct after any sequence of events, even if events are repeated.

Hypothesis chooses the events; after each one, the tables are compared with a model in plain Python.
To run more examples, chosen at random, set (for example) `MODEL_EXAMPLES=1000`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from sync_pipeline.errors import DayDoneError, SupersededError
from sync_pipeline.tracking.models import Attempt, BatchSpec, DayCounts, FailedAttempt
from sync_pipeline.tracking.state import attempts, batches
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import DATASET, clear, rows
from sync_pipeline_tests.integration.tracking_model import AttemptRow, BatchState, Model

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(4)
OF_BATCH = {"whole": DAYS, "early": DAYS[:3], "ends": [DAYS[0], DAYS[3]]}
RUNS = ("run-1", "run-2", "run-3")
_EXAMPLES = os.environ.get("MODEL_EXAMPLES")
_SETTINGS = settings(
    max_examples=int(_EXAMPLES or 150),
    derandomize=_EXAMPLES is None,
    database=None,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

BATCHES = st.sampled_from(sorted(OF_BATCH))
SOME_DAYS = st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True)
ONE_RUN = st.sampled_from(RUNS)
ERRORS = st.sampled_from(["disk full", "lost 批量同步", "not run"])
Started = tuple[Attempt, AttemptRow]


class Tracking(RuleBasedStateMachine):
    """Runs that sync overlapping batches of one dataset, as well as days without a batch."""

    started = Bundle("started")
    connection: "Connection"

    @initialize()
    def start_empty(self) -> None:
        self.model = Model()
        with self.work() as cursor:
            cursor.execute("DELETE FROM sync_attempt; DELETE FROM daily_sync_status")

    @contextmanager
    def work(self) -> Iterator["Cursor"]:
        with self.connection, self.connection.cursor() as cursor:
            yield cursor

    def open_batch(self, cursor: "Cursor", key: str, run: str) -> int:
        """Open or reopen the batch; return its ID."""
        self.model.open(key, OF_BATCH[key], run)
        return batches.open_batch(cursor, BatchSpec(key, DATASET, OF_BATCH[key], run, "a test"))

    @rule(key=BATCHES, run=ONE_RUN)
    def open(self, key: str, run: str) -> None:
        with self.work() as cursor:
            self.open_batch(cursor, key, run)

    @rule(
        target=started,
        key=st.none() | BATCHES,
        number=st.integers(0, 3),
        run=ONE_RUN,
        resync=st.booleans(),
    )
    def begin(self, key: str | None, number: int, run: str, resync: bool) -> Any:
        return self._begin(key, number, run, resync)

    @rule(target=started, failed=consumes(started), error=ERRORS, resync=st.booleans())
    def retry(self, failed: Started, error: str, resync: bool) -> Any:
        """Retry a day in the same worker, whose failed attempt is still open."""
        attempt, row = failed
        run = row.run or RUNS[0]
        return self._begin(
            row.batch, DAYS.index(row.day), run, resync, FailedAttempt(attempt, error), row
        )

    def _begin(
        self,
        key: str | None,
        number: int,
        run: str,
        resync: bool,
        after: FailedAttempt | None = None,
        row: AttemptRow | None = None,
    ) -> Any:
        """Start an attempt and return it, or return nothing if the day need not be synced."""
        days = OF_BATCH[key] if key else DAYS
        day = days[number % len(days)] if row is None else row.day
        with self.work() as cursor:
            batch_id = self.open_batch(cursor, key, run) if key else None
        about: dict[str, Any] = {
            "batch_id": batch_id,
            "run_id": run,
            "triggered_by": "a test",
            "after": after,
            "resync": resync,
        }
        if self.model.is_done(key, day, resync):
            with pytest.raises(DayDoneError), self.work() as cursor:
                attempts.begin(cursor, DATASET, day, **about)
            return multiple()
        with self.work() as cursor:
            attempt = attempts.begin(cursor, DATASET, day, **about)
        why = after.error if after else ""
        return attempt, self.model.begin(key, day, run, row, why)

    @rule(one=started, project=st.booleans(), count=st.integers(0, 9))
    def succeed(self, one: Started, project: bool, count: int) -> None:
        attempt, row = one
        if not self.model.may_succeed(row):
            with pytest.raises(SupersededError), self.work() as cursor:
                helpers.succeed(cursor, attempt, DayCounts(count, count, 0, 0), run_id=row.run)
            return
        with self.work() as cursor:
            counts = DayCounts(count, count, 0, 0)
            helpers.succeed(cursor, attempt, counts, run_id=row.run, project=project)
        self.model.succeed(row, count)
        self.model.refresh(row.batch if project else None)

    @rule(one=started)
    def lose_a_success(self, one: Started) -> None:
        """Roll back a success, as if the connection had broken before the commit."""
        attempt, row = one
        if self.model.may_succeed(row):
            with self.connection.cursor() as cursor:
                helpers.succeed(cursor, attempt, DayCounts(99, 99, 0, 0), run_id=row.run)
            self.connection.rollback()

    @rule(one=started, error=ERRORS)
    def fail(self, one: Started, error: str) -> None:
        with self.work() as cursor:
            helpers.fail(cursor, one[0], error, run_id=one[1].run)
        self.model.fail(one[1], error)

    @rule(key=st.none() | BATCHES, number=st.integers(0, 3), run=ONE_RUN, error=ERRORS)
    def refuse(self, key: str | None, number: int, run: str, error: str) -> None:
        days = OF_BATCH[key] if key else DAYS
        day = days[number % len(days)]
        with self.work() as cursor:
            batch_id = self.open_batch(cursor, key, run) if key else None
            helpers.refuse(cursor, day, error, batch_id, run)
        self.model.refuse(key, day, run, error)

    @rule(key=BATCHES, days=SOME_DAYS, run=ONE_RUN)
    def skip(self, key: str, days: list[date], run: str) -> None:
        with self.work() as cursor:
            attempts.skip(cursor, self.open_batch(cursor, key, run), days, run)
        self.model.skip(key, days, run)

    @rule(key=BATCHES, days=SOME_DAYS, run=ONE_RUN)
    def retry_batch(self, key: str, days: list[date], run: str) -> None:
        with self.work() as cursor:
            batch_id = self.open_batch(cursor, key, run)
            new = BatchSpec(key, DATASET, OF_BATCH[key], run, "a test")
            batches.retry_days(cursor, batch_id, new, days, helpers.clock(cursor))
        self.model.retry_batch(key, days, run)

    @rule(run=ONE_RUN, error=ERRORS)
    def fail_run(self, run: str, error: str) -> None:
        """Close the open attempts of a run that is over or whose worker was lost."""
        lost = [one for one in self.model.attempts if one.run == run and one.state == "syncing"]
        with self.work() as cursor:
            assert attempts.fail_run(cursor, run, error) == len(lost)
        self.model.mark_not_run(lost, error)

    @rule(key=BATCHES, days=st.none() | SOME_DAYS, run=st.none() | ONE_RUN, error=ERRORS)
    def mark_not_run(self, key: str, days: list[date] | None, run: str | None, error: str) -> None:
        with self.work() as cursor:
            batch_id = self.open_batch(cursor, key, RUNS[0])
            unfinished = self.model.unfinished_of(key, days, run)
            found = batches.mark_not_run(cursor, batch_id, error, days, run_id=run)
        assert found == len(unfinished)
        self.model.mark_not_run(unfinished, error)
        self.model.refresh(key)

    @rule(key=BATCHES)
    def project(self, key: str) -> None:
        with self.work() as cursor:
            batches.project(cursor, self.open_batch(cursor, key, RUNS[0]))
        self.model.refresh(key)

    @invariant()
    def every_attempt_matches_the_model(self) -> None:
        found = rows(
            self.connection,
            "SELECT a.sync_date, b.batch_key, a.run_id, a.state, a.attempt, a.superseded,"
            " a.rows_read, a.error_message"
            " FROM sync_attempt a LEFT JOIN daily_sync_status b ON b.id = a.batch_id",
        )
        assert sorted(map(str, (tuple(row.values()) for row in found))) == sorted(
            str(tuple(vars(one).values())) for one in self.model.attempts
        )

    @invariant()
    def every_day_matches_the_model(self) -> None:
        found = rows(self.connection, "SELECT * FROM daily_sync_status WHERE kind = 'day'")
        assert {
            row["sync_date"]: (
                row["attempt"],
                row["status"],
                row["error_message"],
                row["success_count"],
            )
            for row in found
        } == {day: tuple(vars(record).values()) for day, record in self.model.days.items()}
        for row in found:
            assert "批量同步" not in row["remarks"]

    @invariant()
    def every_batch_record_matches_its_last_refresh(self) -> None:
        found = rows(self.connection, "SELECT * FROM daily_sync_status WHERE kind = 'batch'")
        assert {row["batch_key"] for row in found} == set(self.model.shown)
        for row in found:
            assert_record(row, self.model.shown[row["batch_key"]])

    def teardown(self) -> None:
        """Check that every batch record, once refreshed, agrees with its days."""
        for row in rows(self.connection, "SELECT * FROM daily_sync_status WHERE kind = 'batch'"):
            with self.work() as cursor:
                batches.project(cursor, row["id"])
            (after,) = rows(
                self.connection, "SELECT * FROM daily_sync_status WHERE id = %s", [row["id"]]
            )
            assert_record(after, self.model.projected(row["batch_key"]))
        self.connection.commit()


def assert_record(row: dict[str, Any], shown: BatchState) -> None:
    """Check that the record has the expected counts, status, end, error and remarks."""
    counts = ("total_days", "success_count", "failed_count", "skipped_count", "total_records")
    expected = (shown.total, shown.success, shown.failed, shown.skipped, shown.rows)
    assert tuple(row[name] for name in counts) == expected
    assert row["status"] == shown.status
    closed = shown.status != "syncing"
    assert (row["end_time"] is not None, row["duration_seconds"] is not None) == (closed, closed)
    split = f"成功{shown.success}, 失败{shown.failed}, 跳过{shown.skipped}"
    start, end = OF_BATCH[row["batch_key"]][0], OF_BATCH[row["batch_key"]][-1]
    if closed and shown.stop_reason is not None:
        assert row["remarks"] == f"批量同步失败: {shown.stop_reason}"
    elif closed:
        minutes, seconds = divmod(row["duration_seconds"], 60)
        assert row["remarks"] == (
            f"批量同步完成: {start}至{end}, 共{shown.total}天, {split}, 耗时{minutes}分{seconds}秒"
        )
    elif shown.done:
        assert row["remarks"] == f"批量同步进度: {shown.done}/{shown.total}天, {split}"
    else:
        assert row["remarks"] == f"批量同步: {start} 至 {end}, 共{shown.total}天"
    if shown.failed:
        assert row["error_message"].startswith(f"{shown.failed} of {shown.total} days failed: ")
        assert f"First: {shown.failed_days[0]}: " in row["error_message"]
    else:
        assert row["error_message"] is None


def test_the_tables_agree_with_the_model_after_any_events(one_database: str) -> None:
    connection = psycopg2.connect(clear(one_database))
    try:
        machine = type("Machine", (Tracking,), {"connection": connection})
        run_state_machine_as_test(machine, settings=_SETTINGS)
    finally:
        connection.close()
