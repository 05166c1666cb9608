"""The server with the tracking tables is stopped and restarted while days are synced."""

import time
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import psycopg2
import pytest

from sync_pipeline.database.migrate import migrate
from sync_pipeline.sync.connections import SyncJob
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline.tracking.models import Batch, DayOutcome, RecordStatus
from sync_pipeline.tracking.worker import connection as tracking_connection
from sync_pipeline.tracking.worker import outbox
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    ROWS_PER_DAY,
    Pipeline,
    Worker,
    execute,
    gate_closed,
    in_thread,
    open_batch,
    run,
    transaction,
    wait_until_blocked,
)
from sync_pipeline_tests.integration.other_server import OtherServer
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(12)
OPEN_LATE = Batch(0, "batch-1", "orders", RecordStatus.SYNCING, DAYS[0], DAYS[-1], 12)


@pytest.fixture
def pipeline(source_url: str, database_url: str, server: OtherServer) -> Pipeline:
    """Return a pipeline whose tracking tables are on a separate server."""
    pipeline = Pipeline(source_url, database_url, server.database("tracking"))
    pipeline.make_source()
    assert pipeline.tracking is not None
    migrate(pipeline.tracking, "SYNC_TRACKING_URL")
    run(database_url, "DROP TABLE daily_sync_status CASCADE")
    return pipeline


@pytest.fixture
def records(pipeline: Pipeline) -> str:
    assert pipeline.tracking is not None
    return pipeline.tracking


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_connection, "_INITIAL_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(tracking_connection, "_MAX_BACKOFF_SECONDS", 0.05)


def outage_logs(caplog: pytest.LogCaptureFixture) -> list[str]:
    named = ("tracking failed", "the tracking tables are", "run run-1 ended")
    return [
        next(name for name in named if line.getMessage().startswith(name))
        for line in caplog.records
        if line.name.startswith("sync_pipeline.tracking")
    ]


def days_of(records: str) -> list[tuple[object, ...]]:
    """Return each day of the batch with its status, its row count and its attempt's state."""
    return run(
        records,
        "SELECT r.sync_date, r.status, r.success_count, a.state FROM daily_sync_status r "
        "JOIN sync_attempt a ON a.sync_date = r.sync_date AND a.attempt = r.attempt "
        "WHERE r.kind = 'day' AND a.batch_id IS NOT NULL ORDER BY 1",
    )


def batch_of(records: str) -> tuple[object, ...]:
    [found] = run(
        records,
        "SELECT status, success_count, failed_count, total_records FROM daily_sync_status "
        "WHERE kind = 'batch'",
    )
    return found


def assert_complete(pipeline: Pipeline, records: str, results: list[DayResult]) -> None:
    assert [result.outcome for result in results] == [Outcome.SUCCESS] * 12
    assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
    assert days_of(records) == [(day, "success", ROWS_PER_DAY, "success") for day in DAYS]
    assert batch_of(records) == ("success", 12, 0, 12 * ROWS_PER_DAY)


def clock(pipeline: Pipeline) -> datetime:
    """Return the target server's time; the other server has the same clock."""
    [(now,)] = run(pipeline.target, "SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    return now


def outbox_of(pipeline: Pipeline) -> list[DayOutcome]:
    with transaction(pipeline.target) as cursor:
        return [entry.outcome for entry in outbox.entries(cursor)]


@pytest.mark.parametrize("progress", ["every_day", "auto"])
def test_the_record_is_complete_after_an_outage_in_the_middle_of_a_batch(
    pipeline: Pipeline,
    records: str,
    server: OtherServer,
    caplog: pytest.LogCaptureFixture,
    progress: str,
) -> None:
    caplog.set_level("INFO", "sync_pipeline")
    batch = open_batch(records, DAYS)
    syncing = pipeline.start(DAYS, batch, progress=progress)
    results = [next(syncing) for _ in range(3)]
    server.stop()
    results += [next(syncing) for _ in range(6)]
    back_at = clock(pipeline)
    server.start()
    results += list(syncing)

    assert_complete(pipeline, records, results)
    assert outbox_of(pipeline) == []
    assert outage_logs(caplog) == ["tracking failed", "the tracking tables are"]
    times = run(
        records,
        "SELECT started_at, ended_at FROM sync_attempt WHERE state = 'success' ORDER BY sync_date",
    )
    assert [ended < back_at for _, ended in times] == [True] * 9 + [False] * 3
    for (_, ended), (started, _) in pairwise(times):
        assert ended <= started + timedelta(seconds=0.1)


def test_the_running_attempt_succeeds_after_an_outage_while_a_day_is_read(
    pipeline: Pipeline, records: str, server: OtherServer, connection: "Connection"
) -> None:
    batch = open_batch(records, DAYS)
    with (
        gate_closed(pipeline.source) as gate,
        in_thread(lambda: pipeline.sync(DAYS, batch)) as syncing,
    ):
        wait_until_blocked(connection, gate.info.backend_pid)
        server.stop()
        execute(gate, "SELECT pg_advisory_unlock(42)")
        wait_until(lambda: pipeline.loaded().get(DAYS[2]))
        server.start()
        results = syncing.result(60)
    assert_complete(pipeline, records, results)
    assert run(records, "SELECT count(*) FROM sync_attempt WHERE state <> 'success'") == [(0,)]


def test_after_an_outage_at_the_start_the_batch_is_opened_late_with_all_its_days(
    pipeline: Pipeline, records: str, server: OtherServer
) -> None:
    server.stop()
    started_at = clock(pipeline)
    syncing = pipeline.start(DAYS, OPEN_LATE)
    results = [next(syncing) for _ in range(5)]
    back_at = clock(pipeline)
    server.start()
    results += list(syncing)
    assert_complete(pipeline, records, results)
    [(opened,)] = run(records, "SELECT start_time FROM daily_sync_status WHERE kind = 'batch'")
    assert started_at < opened < back_at


def test_the_end_of_a_run_waits_a_few_seconds_for_the_end_of_an_outage(
    pipeline: Pipeline, records: str, server: OtherServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_connection, "FLUSH_TIMEOUT_SECONDS", helpers.TIMEOUT_SECONDS)
    run(pipeline.target, "CREATE TABLE orders (day date, id int, amount int, passed boolean)")
    server.stop()
    with in_thread(partial(pipeline.sync, DAYS, OPEN_LATE)) as syncing:
        wait_until(lambda: len(pipeline.loaded()) == 12)
        server.start()
        results = syncing.result(60)
    assert_complete(pipeline, records, results)


def test_if_an_outage_outlasts_a_run_days_sync_at_full_speed_and_pending_events_are_logged(
    pipeline: Pipeline,
    records: str,
    server: OtherServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking_connection, "FLUSH_TIMEOUT_SECONDS", 0.5)
    batch = open_batch(records, DAYS)
    syncing = pipeline.start(DAYS, batch)
    next(syncing)
    server.stop()
    started = time.monotonic()
    results = list(syncing)
    assert time.monotonic() - started < 5
    assert [result.outcome for result in results] == [Outcome.SUCCESS] * 11
    assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
    assert outage_logs(caplog) == ["tracking failed", "run run-1 ended"]
    assert "ended with 12 events not recorded: 2025-10-02: success; " in caplog.text
    kept = outbox_of(pipeline)
    assert [(one.day, one.number, one.run_id) for one in kept] == [
        (day, None, "run-1") for day in DAYS[1:]
    ]
    assert [one.batch and one.batch.batch_key for one in kept] == ["batch-1"] * 11
    assert [one.counts.rows_loaded for one in kept] == [ROWS_PER_DAY] * 11
    server.start()


def test_a_day_keeps_its_lock_if_the_tables_are_lost_before_it_is_retried(
    pipeline: Pipeline, server: OtherServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_connection, "FLUSH_TIMEOUT_SECONDS", 0.0)
    run(pipeline.source, f"INSERT INTO broken VALUES ('{DAYS[0]}')")

    def lose_tables(*_: object) -> None:
        server.stop()
        run(pipeline.source, "DELETE FROM broken")

    monkeypatch.setattr(SyncJob, "log_retry", lose_tables)
    policy = {"max_attempts": 2, "initial_backoff_seconds": 0.01}
    with (
        gate_closed(pipeline.source) as gate,
        in_thread(lambda: pipeline.sync(DAYS[:1], retry=policy)) as syncing,
    ):
        wait_until_blocked(gate, gate.info.backend_pid)
        held = run(
            pipeline.target,
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        execute(gate, "SELECT pg_advisory_unlock(42)")
        [result] = syncing.result(helpers.TIMEOUT_SECONDS)
    assert held == [(1,)]
    assert result.outcome is Outcome.SUCCESS
    server.start()


def test_the_outbox_contains_a_day_from_its_commit_until_it_is_recorded(
    pipeline: Pipeline, records: str, connection: "Connection"
) -> None:
    batch = open_batch(records, DAYS[:1])
    pipeline.sync(DAYS[1:2], None)  # creates the outbox
    with psycopg2.connect(records) as held, held.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END $$;"
            "CREATE TRIGGER slow AFTER UPDATE OF state ON sync_attempt FOR EACH ROW "
            "WHEN (NEW.state = 'success') EXECUTE FUNCTION wait_at_gate()"
        )
    held.close()
    with (
        gate_closed(records) as gate,
        in_thread(lambda: pipeline.sync(DAYS[:1], batch)) as syncing,
    ):
        wait_until(lambda: pipeline.loaded().get(DAYS[0]))
        assert [(one.day, one.number) for one in outbox_of(pipeline)] == [(DAYS[0], 1)]
        assert days_of(records) == [(DAYS[0], "syncing", 0, "syncing")]
        execute(gate, "SELECT pg_advisory_unlock(42)")
        [result] = syncing.result(helpers.TIMEOUT_SECONDS)
    assert result.outcome is Outcome.SUCCESS
    assert outbox_of(pipeline) == []


def test_without_the_privilege_to_create_the_outbox_days_are_synced_with_one_warning(
    pipeline: Pipeline, records: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(
        pipeline.target,
        "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'no new tables'; END $$",
        "CREATE TABLE orders (day date, id integer, amount integer, passed boolean)",
        "CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TABLE') "
        "EXECUTE FUNCTION forbid()",
    )
    results = pipeline.sync(DAYS, open_batch(records, DAYS))
    assert_complete(pipeline, records, results)
    warnings = [line.getMessage() for line in caplog.records if "sync_outbox" in line.getMessage()]
    assert len(warnings) == 1
    assert ": no new tables" in warnings[0]


def test_days_that_failed_or_were_not_run_in_an_outage_are_recorded_too(
    pipeline: Pipeline, records: str, server: OtherServer
) -> None:
    run(pipeline.source, f"INSERT INTO broken VALUES ('{DAYS[3]}')")
    syncing = pipeline.start(DAYS, OPEN_LATE)
    next(syncing)
    server.stop()
    results = [next(syncing) for _ in range(4)]
    run(pipeline.source, "DROP VIEW orders_source")
    server.start()
    results += list(syncing)
    states = [result.outcome.value for result in results]
    assert states == ["success", "success", "failed", "success", *["failed"] * 7]
    assert days_of(records) == [
        (day, state, ROWS_PER_DAY if state == "success" else 0, state)
        for day, state in zip(DAYS, ["success", *states], strict=True)
    ]
    assert batch_of(records)[:3] == ("failed", 4, 8)
    [(error,)] = run(
        records, f"SELECT error_message FROM sync_attempt WHERE sync_date = '{DAYS[3]}'"
    )
    assert f"cannot read {DAYS[3]}" in str(error)


def test_a_day_whose_worker_is_presumed_dead_during_its_commit_is_recorded_as_a_success(
    pipeline: Pipeline, records: str, connection: "Connection"
) -> None:
    run(
        pipeline.target,
        "CREATE TABLE orders (day date, id integer, amount integer, passed boolean)",
        "CREATE INDEX ON orders (day)",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM wait_at_gate(); RETURN NEW; END $$",
        "CREATE FUNCTION wait_at_gate() RETURNS boolean LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN true; END $$",
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON orders INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION slow()",
    )
    batch = open_batch(records, DAYS[:1])
    with (
        gate_closed(pipeline.target) as gate,
        in_thread(lambda: pipeline.sync(DAYS[:1], batch)) as syncing,
    ):
        wait_until_blocked(connection, gate.info.backend_pid)
        # The source is read while the attempt begins.
        wait_until(lambda: Worker(records, batch).fail_run("presumed dead") == 1)
        execute(gate, "SELECT pg_advisory_unlock(42)")
        [result] = syncing.result(helpers.TIMEOUT_SECONDS)
    assert result.outcome is Outcome.SUCCESS
    assert days_of(records) == [(DAYS[0], "success", ROWS_PER_DAY, "success")]
    assert batch_of(records) == ("success", 1, 0, ROWS_PER_DAY)
