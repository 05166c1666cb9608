"""A day is retried after a transient error, but not after a permanent one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from sync_pipeline.errors import SourceError, SyncError, TargetError
from sync_pipeline.sync.day import CANCELLED
from sync_pipeline.sync.days import Outcome
from sync_pipeline.targets.postgres import Target
from sync_pipeline.tracking.worker import outbox
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    ROWS_PER_DAY,
    START,
    Pipeline,
    day_record,
    execute,
    gate_closed,
    history,
    in_thread,
    open_batch,
    record,
    rows,
    run,
    transaction,
    wait_until_blocked,
)
from sync_pipeline_tests.integration.other_server import OtherServer
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(6)
QUICK = {"max_attempts": 3, "initial_backoff_seconds": 0.05}
SLOW = {"max_attempts": 8, "initial_backoff_seconds": 0.5}
LONG = {"max_attempts": 3, "initial_backoff_seconds": 20}


@pytest.fixture(params=["together", "apart"])
def anywhere(
    request: pytest.FixtureRequest,
    pipeline: Pipeline,
    make_database: Callable[[str | None], str],
    migrated_template: str,
) -> Pipeline:
    """Return a pipeline that keeps its records in the target database or in a separate one."""
    if request.param == "together":
        return pipeline
    return replace(pipeline, tracking=make_database(migrated_template))


def records_of(pipeline: Pipeline) -> str:
    return pipeline.tracking or pipeline.target


def attempts(connection: "Connection", day: date) -> list[tuple[str, bool]]:
    """Return the state of each attempt for a day, and whether the attempt is superseded."""
    return [(one["state"], one["superseded"]) for one in history(connection, day)]


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_commit_whose_response_is_lost_is_a_success_and_is_not_repeated(
    anywhere: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    max_attempts: int,
) -> None:
    commit = Target.commit
    lost: list[date] = []

    def commit_and_lose_the_response(target: Target, day: date) -> None:
        commit(target, day)
        if day in DAYS[1:3] and day not in lost:
            lost.append(day)
            target.connection.close()
            raise TargetError("server closed the connection") from psycopg2.OperationalError()

    monkeypatch.setattr(Target, "commit", commit_and_lose_the_response)
    batch = open_batch(records_of(anywhere), DAYS)
    retry = {"max_attempts": max_attempts, "initial_backoff_seconds": 0.05}
    results = anywhere.sync(DAYS, batch, retry=retry, target={"write": "append_only"})
    assert lost == DAYS[1:3]
    assert [result.error for result in results] == [None] * 6
    assert anywhere.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
    with transaction(records_of(anywhere)) as cursor:
        cursor.execute("SELECT attempt, state FROM sync_attempt")
        assert cursor.fetchall() == [(1, "success")] * 6
    with transaction(anywhere.target) as cursor:
        assert outbox.entries(cursor) == []


def test_a_day_that_is_interrupted_during_its_commit_is_recorded_as_committed(
    anywhere: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit = Target.commit

    def commit_and_be_interrupted(target: Target, day: date) -> None:
        commit(target, day)
        raise helpers.Interrupted

    monkeypatch.setattr(Target, "commit", commit_and_be_interrupted)
    batch = open_batch(records_of(anywhere), DAYS)
    with pytest.raises(helpers.Interrupted):
        anywhere.sync(DAYS, batch)
    assert anywhere.loaded() == {START: ROWS_PER_DAY}
    with transaction(records_of(anywhere)) as cursor:
        cursor.execute("SELECT sync_date, state FROM sync_attempt WHERE attempt IS NOT NULL")
        assert cursor.fetchall() == [(START, "success")]


@pytest.mark.parametrize("victim", ["read orders", "sync run", "tracking"])
def test_a_connection_lost_in_the_middle_of_a_day_does_not_fail_the_day(
    pipeline: Pipeline, connection: "Connection", victim: str
) -> None:
    batch = open_batch(pipeline.target, DAYS)
    with (
        gate_closed(pipeline.source) as gate,
        in_thread(lambda: pipeline.sync(DAYS, batch, retry=QUICK)) as syncing,
    ):
        wait_until_blocked(connection, gate.info.backend_pid)
        terminate = (
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE application_name LIKE 'sync_pipeline: {victim}%'"
        )
        assert run(pipeline.target, terminate) == [(True,)]
        execute(gate, "SELECT pg_advisory_unlock(42)")
        results = syncing.result(helpers.TIMEOUT_SECONDS)

    assert {result.outcome for result in results} == {Outcome.SUCCESS}
    assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
    closed = record(connection, batch.id)
    assert (closed["status"], closed["success_count"]) == ("success", 6)
    if victim == "tracking":
        assert attempts(connection, START) == [("success", False)]
    else:
        assert attempts(connection, START) == [("failed", True), ("success", False)]
        assert f"{START}" in history(connection, START)[0]["error_message"]
    assert day_record(connection, START)["error_message"] is None


def test_each_retry_is_an_attempt_with_its_own_error_and_the_next_days_are_synced(
    pipeline: Pipeline, connection: "Connection", caplog: pytest.LogCaptureFixture
) -> None:
    run(pipeline.source, f"INSERT INTO broken VALUES ('{START}')")
    batch = open_batch(pipeline.target, DAYS[:2])
    results = pipeline.sync(DAYS[:2], batch, retry=QUICK)
    assert [result.outcome.value for result in results] == ["failed", "success"]
    assert attempts(connection, START) == [("failed", True), ("failed", True), ("failed", False)]
    for one in history(connection, START):
        assert f"cannot read {START}" in one["error_message"]
    assert [one["attempt"] for one in history(connection, START)] == [1, 2, 3]
    assert record(connection, batch.id)["failed_count"] == 1
    warned = [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]
    assert len(warned) == 2
    assert all(f"dataset orders, day {START}: retrying in 0." in line for line in warned)


def test_a_permanent_error_is_not_retried(pipeline: Pipeline, connection: "Connection") -> None:
    pipeline.sync(DAYS[:1])
    run(pipeline.target, "ALTER TABLE orders ADD CHECK (amount <> 150)")
    results = pipeline.sync(DAYS[:3], retry=LONG)
    assert [result.outcome.value for result in results] == ["success", "failed", "success"]
    assert attempts(connection, DAYS[1]) == [("failed", False)]


def test_a_lock_timeout_on_the_table_is_retried(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    pipeline.sync(DAYS[:1])
    days = partial(pipeline.start, DAYS[:2], retry=SLOW)
    results = days()
    next(results)
    with transaction(pipeline.target) as blocker:
        blocker.execute("LOCK orders")
        with in_thread(lambda: list(results)) as syncing:
            wait_until(
                lambda: attempts(connection, DAYS[1]) == [("failed", False), ("syncing", False)]
            )
            blocker.connection.commit()
            [result] = syncing.result(helpers.TIMEOUT_SECONDS)
    assert result.outcome is Outcome.SUCCESS
    assert "lock timeout" in history(connection, DAYS[1])[0]["error_message"]


class TestBackoff:
    """The backoff between two attempts for a day."""

    def test_the_record_remains_open_and_an_interrupt_ends_the_backoff(
        self, pipeline: Pipeline, connection: "Connection", interrupt: Callable[[], None]
    ) -> None:
        run(pipeline.source, f"INSERT INTO broken VALUES ('{START}')")
        batch = open_batch(pipeline.target, DAYS)
        seen: list[Any] = []

        def interrupt_the_backoff() -> None:
            locks = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
            wait_until(lambda: attempts(connection, START) == [("syncing", False)])
            wait_until(lambda: not execute(connection, locks))  # rolled back
            seen.append((day_record(connection, START)["status"], attempts(connection, START)))
            seen.append(record(connection, batch.id)["status"])
            interrupt()

        with in_thread(interrupt_the_backoff), pytest.raises(helpers.Interrupted):
            pipeline.sync(DAYS, batch, retry=LONG)
        assert seen == [("syncing", [("syncing", False)]), "syncing"]
        assert attempts(connection, START) == [("failed", False)]
        assert day_record(connection, START)["error_message"] == CANCELLED


class TestUnreachable:
    """A source or target that can no longer be reached."""

    @pytest.mark.parametrize("side", ["source", "target"])
    def test_the_remaining_days_are_not_run_and_the_batch_lists_them(
        self, pipeline: Pipeline, connection: "Connection", server: OtherServer, side: str
    ) -> None:
        elsewhere = server.database("orders")
        if side == "source":
            pipeline = Pipeline(elsewhere, pipeline.target)
            pipeline.make_source()
        else:
            pipeline = Pipeline(pipeline.source, elsewhere, tracking=pipeline.target)
        records = pipeline.tracking or pipeline.target
        batch = open_batch(records, DAYS)
        results = pipeline.start(DAYS, batch, retry=QUICK)
        next(results)
        server.stop()
        failed = next(results)
        with pytest.raises(SourceError if side == "source" else TargetError) as raised:
            next(results)

        assert (failed.day, failed.outcome) == (DAYS[1], Outcome.FAILED)
        assert failed.error == str(raised.value)
        for day in DAYS[2:]:
            assert history(connection, day)[0]["error_message"] == f"not run: {failed.error}"
        closed = record(connection, batch.id)
        assert (closed["status"], closed["success_count"]) == ("failed", 1)
        assert closed["error_message"].startswith(
            f"5 of 6 days failed: {DAYS[1]}..{DAYS[5]}. First: {DAYS[1]}: "
        )
        assert closed["error_message"].endswith(f". Not run: {DAYS[2]}..{DAYS[5]}")

    @pytest.mark.parametrize("side", ["source", "target"])
    def test_no_day_fails_if_it_is_reachable_again_before_the_last_attempt(
        self, pipeline: Pipeline, server: OtherServer, side: str, connection: "Connection"
    ) -> None:
        elsewhere = server.database("orders")
        if side == "source":
            pipeline = Pipeline(elsewhere, pipeline.target)
            pipeline.make_source()
        else:
            pipeline = Pipeline(pipeline.source, elsewhere, tracking=pipeline.target)
        batch = open_batch(pipeline.tracking or pipeline.target, DAYS)
        results = pipeline.start(DAYS, batch, retry=SLOW)
        found = [next(results)]
        server.stop()
        with in_thread(lambda: list(results)) as syncing:
            # The second attempt could not connect, but more attempts remain.
            wait_until(lambda: len(history(connection, DAYS[1])) >= 3 or side == "target")
            server.start()
            found += syncing.result(60)
        assert [result.outcome for result in found] == [Outcome.SUCCESS] * 6
        assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
        assert record(connection, batch.id)["status"] == "success"

    def test_the_batch_stops_after_three_consecutive_days_with_transient_errors(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        run(pipeline.source, "INSERT INTO broken SELECT DISTINCT day FROM orders WHERE id <> 10")
        run(pipeline.source, f"DELETE FROM broken WHERE day = '{START}'")
        batch = open_batch(pipeline.target, DAYS)
        results = pipeline.start(DAYS, batch)
        found = [next(results) for _ in range(4)]
        with pytest.raises(SyncError, match="3 days in a row failed"):
            next(results)
        assert [result.outcome.value for result in found] == ["success", *["failed"] * 3]
        states = rows(
            connection,
            "SELECT state, error_message LIKE 'not run: %%' AS not_run FROM sync_attempt "
            "WHERE batch_id = %s ORDER BY sync_date",
            [batch.id],
        )
        assert [row["not_run"] for row in states] == [None, False, False, False, True, True]
        assert f"Not run: {DAYS[4]}..{DAYS[5]}: 3 days" in record(connection, batch.id)[
            "error_message"
        ].replace("dataset orders: ", "")
