"""Days synced in parallel in one run are all recorded, and all stop when the caller stops."""

import re
import threading
import time
from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from sync_pipeline.errors import SyncError
from sync_pipeline.sync import pool
from sync_pipeline.sync.circuit_breaker import CircuitBreaker
from sync_pipeline.sync.day import CANCELLED
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline.sync.pool import WorkerPool
from sync_pipeline.tracking.models import AttemptState, BatchSpec, DayOutcome
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.conftest import drop_database
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    TIMEOUT_SECONDS,
    Pipeline,
    gate_closed,
    history,
    in_thread,
    open_batch,
    record,
    rows,
    run,
)
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(12)
THREE: dict[str, Any] = {"parallel_days": 3}


def days_in_progress(connection: "Connection") -> list[date]:
    found = rows(connection, "SELECT sync_date FROM sync_attempt WHERE state = 'syncing'")
    return sorted(row["sync_date"] for row in found)


def waiting_at_gate(url: str) -> int:
    [(waiting,)] = run(
        url,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    return int(waiting)


def counts(connection: "Connection", batch_id: int) -> tuple[Any, ...]:
    found = record(connection, batch_id)
    return tuple(found[name] for name in ("status", "success_count", "failed_count"))


@pytest.mark.parametrize("progress", ["every_day", {"days": 5}], ids=["every_day", "every_five"])
def test_every_day_is_synced_and_the_batch_is_closed(
    pipeline: Pipeline, connection: "Connection", progress: Any
) -> None:
    batch = open_batch(pipeline.target, DAYS)
    results = pipeline.sync(DAYS, batch, **THREE, progress=progress)
    assert sorted(result.day for result in results) == DAYS
    assert {result.outcome for result in results} == {Outcome.SUCCESS}
    assert pipeline.loaded() == dict.fromkeys(DAYS, 10)
    assert counts(connection, batch.id) == ("success", 12, 0)


def test_parallel_days_run_at_the_same_time(pipeline: Pipeline, connection: "Connection") -> None:
    batch = open_batch(pipeline.target, DAYS)
    with in_thread(lambda: pipeline.sync(DAYS, batch, **THREE)) as syncing:
        with gate_closed(pipeline.source):
            wait_until(lambda: len(days_in_progress(connection)) == 3 or syncing.done())
            assert not syncing.done()
            assert len(days_in_progress(connection)) == 3
        assert len(syncing.result(TIMEOUT_SECONDS)) == 12


def test_a_failed_day_does_not_stop_the_others(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    run(pipeline.source, f"INSERT INTO broken VALUES ('{DAYS[4]}')")
    batch = open_batch(pipeline.target, DAYS)
    results = pipeline.sync(DAYS, batch, **THREE)
    failed = [result.day for result in results if result.outcome is Outcome.FAILED]
    assert failed == [DAYS[4]]
    assert counts(connection, batch.id) == ("failed", 11, 1)


def test_if_the_caller_stops_the_days_in_progress_are_rolled_back(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    batch = open_batch(pipeline.target, DAYS)
    results = pipeline.start(DAYS, batch, **THREE)
    first = next(results)
    with gate_closed(pipeline.source):
        # Three days wait at the gate; stopping must not wait for the gate to open.
        # A day that has passed the gate may still be in progress.
        wait_until(lambda: waiting_at_gate(pipeline.source) == 3)
        wait_until(lambda: len(days_in_progress(connection)) == 3)
        stopped = days_in_progress(connection)
        results.close()  # type: ignore[attr-defined]
    assert days_in_progress(connection) == []
    last_attempts = [history(connection, day)[-1] for day in stopped]
    assert {(row["state"], row["error_message"]) for row in last_attempts} == {
        ("failed", CANCELLED)
    }
    assert first.day in pipeline.loaded()
    assert not set(stopped) & set(pipeline.loaded())
    sessions = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'sync_pipeline: sync run%'"
    wait_until(lambda: not rows(connection, sessions))


def test_no_worker_starts_another_day_while_one_is_slow_to_stop(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = [0, 0]

    class BusyWorker:
        """Worker 0 takes a second for a day, even after `stop` is called; worker 1 is quick."""

        job = SimpleNamespace(breaker=CircuitBreaker(pipeline.dataset()))

        def __init__(self, number: int) -> None:
            self.number = number
            self.stopped = False
            self.release = threading.Event()

        def try_open(self) -> bool:
            return True

        def stop(self) -> None:
            self.stopped = True

    class BusyDay:
        def __init__(self, worker: BusyWorker, day: date) -> None:
            self.worker = worker
            self.day = day

        def run(self) -> DayResult:
            started[self.worker.number] += 1
            self.worker.release.wait(1.0 if self.worker.number == 0 else 0.01)
            return DayResult(self.day, Outcome.SUCCESS)

    monkeypatch.setattr(pool, "DaySync", BusyDay)
    workers: Any = [BusyWorker(0), BusyWorker(1)]
    results = WorkerPool(workers, helpers.days(1000)).results()
    next(results)
    at_close = started[1]
    results.close()  # type: ignore[attr-defined]
    assert started[0] == 1
    assert started[1] <= at_close + 1


def test_pending_writes_of_a_thread_are_written_by_the_run(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tracker(pipeline.settings, run_id="run-1") as tracker:
        other = tracker.clone()
        failed = DayOutcome(
            helpers.DATASET, DAYS[0], AttemptState.FAILED, "run-1", None, None, error="held"
        )
        with monkeypatch.context() as unavailable:
            unavailable.setattr(other._connection, "_flush", lambda: None)
            other.record(failed)
        other.transfer_pending_to(tracker)
        assert tracker.has_pending
    found = run(pipeline.target, "SELECT sync_date, state, error_message FROM sync_attempt")
    assert found == [(DAYS[0], "failed", "held")]


def test_a_batch_opened_by_a_thread_starts_at_the_time_of_the_runs_request(
    pipeline: Pipeline,
) -> None:
    new = BatchSpec("batch-1", helpers.DATASET, DAYS)
    with Tracker(pipeline.settings, run_id="run-1") as tracker:
        tracker._connection.requested_at[new.batch_key, new.dataset] = time.monotonic() - 60
        other = tracker.clone()
        assert other.open_batch(new)
        other.transfer_pending_to(tracker)
    ago = "SELECT extract(epoch FROM clock_timestamp() - start_time) FROM daily_sync_status"
    [(seconds,)] = run(pipeline.target, ago)
    assert float(str(seconds)) >= 60


def test_a_worker_that_cannot_connect_leaves_its_days_to_the_others(
    pipeline: Pipeline, connection: "Connection", caplog: pytest.LogCaptureFixture
) -> None:
    source = psycopg2.extensions.parse_dsn(pipeline.source)
    run(
        pipeline.source,
        "CREATE ROLE one_at_a_time LOGIN CONNECTION LIMIT 1",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO one_at_a_time",
    )
    try:
        url = f"postgresql://one_at_a_time@/{source['dbname']}?host={source['host']}"
        narrow = Pipeline(url, pipeline.target)
        batch = open_batch(pipeline.target, DAYS)
        results = narrow.sync(DAYS, batch, **THREE)
    finally:
        run(pipeline.source, "DROP OWNED BY one_at_a_time; DROP ROLE one_at_a_time")
    assert [result.outcome for result in results] == [Outcome.SUCCESS] * 12
    assert counts(connection, batch.id) == ("success", 12, 0)
    assert "running fewer workers than parallel_days" in caplog.text


def test_days_not_started_when_the_target_becomes_unreachable_are_listed(
    pipeline: Pipeline, make_database: Any, migrated_template: str, server_url: str
) -> None:
    apart = Pipeline(pipeline.source, make_database(None), make_database(migrated_template))
    batch = open_batch(apart.tracking or "", DAYS)
    results = apart.start(DAYS, batch, **THREE)
    with in_thread(lambda: list(results)) as syncing:
        with gate_closed(pipeline.source):
            wait_until(lambda: len(day_locks(apart.target)) == 3)
            drop_database(server_url, psycopg2.extensions.parse_dsn(apart.target)["dbname"])
        with pytest.raises(SyncError, match="cannot connect to the database"):
            syncing.result(TIMEOUT_SECONDS)
    (found,) = run(
        apart.tracking or "",
        "SELECT status, success_count, failed_count, error_message FROM daily_sync_status "
        "WHERE kind = 'batch'",
    )
    assert found[:3] == ("failed", 0, 12)
    # Each worker failed its own day; some then failed another day, too, as they could not connect.
    assert re.search(r"Not run: 2025-10-0[4-8]\.\.2025-10-12", found[3])


def day_locks(url: str) -> list[tuple[Any, ...]]:
    return run(url, "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2")
