"""A tracking failure is logged once and does not stop a sync, but losing a day's lock does."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg2
import pytest

from sync_pipeline.errors import SupersededError, WorkerOutdatedError
from sync_pipeline.settings import Settings, with_database
from sync_pipeline.sync.days import DayResult, Outcome, sync_days
from sync_pipeline.tracking.models import Attempt, AttemptState, BatchSpec, DayOutcome
from sync_pipeline.tracking.worker import connection as tracking_connection
from sync_pipeline.tracking.worker import tracker as tracker_module
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    DATASET,
    ROWS_PER_DAY,
    START,
    Pipeline,
    Worker,
    as_requested,
    counts,
    day_record,
    execute,
    gate_closed,
    in_thread,
    open_batch,
    outcome_of,
    record,
    run,
    transaction,
    wait_until_blocked,
)
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(5)
STATUSES = "SELECT sync_date, status FROM daily_sync_status WHERE kind = 'day' ORDER BY sync_date"


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tracker retry immediately while the tables are unavailable."""
    monkeypatch.setattr(tracking_connection, "_INITIAL_BACKOFF_SECONDS", 0.0)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent the tracker from waiting for unavailable tables at the end of a run."""
    monkeypatch.setattr(tracking_connection, "FLUSH_TIMEOUT_SECONDS", 0.0)


@pytest.fixture
def tracker(database_url: str) -> Iterator[Tracker]:
    with Tracker(Settings({"SYNC_DATABASE_URL": database_url}), run_id="run-1") as tracker:
        yield tracker


def begin(tracker: Tracker) -> Attempt:
    attempt = tracker.begin(DATASET, START, None)
    assert attempt is not None
    return attempt


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the level and the beginning of each line in the tracker's log."""
    return [
        f"{line.levelname} {line.getMessage().split(':')[0]}"
        for line in caplog.records
        if line.name == tracker_module.__name__
    ]


def all_synced(pipeline: Pipeline, results: list[DayResult]) -> bool:
    return all(
        result.outcome is Outcome.SUCCESS for result in results
    ) and pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)


NOT_RECORDED = "ERROR run {} ended with {} events not recorded"
OUTAGE = "ERROR tracking failed; the sync continues without it"
AVAILABLE_AGAIN = "INFO the tracking tables are available again"


class TestOutage:
    """The tracking tables are unavailable."""

    def test_days_are_recorded_late_if_the_tables_are_lost_and_restored_during_a_sync(
        self,
        pipeline: Pipeline,
        database_url: str,
        server_url: str,
        migrated_template: str,
        no_backoff: None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("INFO")
        elsewhere = OtherDatabase(server_url, migrated_template)
        elsewhere.create()
        pipeline = Pipeline(pipeline.source, database_url, elsewhere.url)
        syncing = pipeline.start(DAYS)

        results = [next(syncing)]
        elsewhere.drop()
        results += [next(syncing), next(syncing)]
        elsewhere.create()
        results += list(syncing)

        assert all_synced(pipeline, results)
        assert logged(caplog) == [OUTAGE, AVAILABLE_AGAIN]
        # The record written before the outage was lost with the database; the others were late.
        assert run(elsewhere.url, STATUSES) == [(day, "success") for day in DAYS[1:]]
        elsewhere.drop()

    def test_a_batch_whose_record_cannot_be_opened_is_synced_anyway(
        self, pipeline: Pipeline, caplog: pytest.LogCaptureFixture, no_wait: None
    ) -> None:
        pipeline.sync(DAYS[:2])
        run(pipeline.target, "DROP TABLE daily_sync_status CASCADE")
        with Tracker(pipeline.settings) as tracker:
            assert tracker.open_batch(BatchSpec("key", DATASET, DAYS)) is None
        assert all_synced(pipeline, pipeline.sync(DAYS, None, resync=False))
        opening, opening_left, *syncing, run_left = logged(caplog)
        assert (opening, opening_left) == (OUTAGE, NOT_RECORDED.format(None, 1))
        # Other tables still exist; each successful write to them looks like the end of the outage.
        assert set(syncing) == {OUTAGE}
        assert run_left == NOT_RECORDED.format("run-1", 5)

    def test_a_batch_is_opened_late_when_the_tables_are_available_again(
        self,
        pipeline: Pipeline,
        database_url: str,
        server_url: str,
        migrated_template: str,
        no_backoff: None,
    ) -> None:
        elsewhere = OtherDatabase(server_url, migrated_template)
        settings = Pipeline(pipeline.source, database_url, elsewhere.url).settings
        new = BatchSpec("key", DATASET, DAYS)
        with Tracker(settings) as tracker:
            assert tracker.open_batch(new) is None
            assert tracker.batch_days(new.batch_key, new.dataset) == {}
            assert tracker.begin(DATASET, START, new) is None
            elsewhere.create()
            attempt = tracker.begin(DATASET, DAYS[1], new)
            assert attempt is not None
            tracker.record(outcome_of(attempt, counts(1), batch=new, run_id=None))
        opened = "SELECT id, success_count, total_days FROM daily_sync_status WHERE kind = 'batch'"
        assert run(elsewhere.url, opened) == [(attempt.batch_id, 1, 5)]
        elsewhere.drop()

    def test_the_connection_is_not_retried_before_the_backoff_has_elapsed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with refusing_server() as (url, calls):
            elsewhere = Settings({"SYNC_DATABASE_URL": "postgresql:///x", "SYNC_TRACKING_URL": url})
            tracker = Tracker(elsewhere)
            for _ in range(20):
                assert tracker.begin(DATASET, START, None) is None
            assert len(calls) == 1

            monkeypatch.setattr(tracking_connection, "_INITIAL_BACKOFF_SECONDS", 0.0)
            tracker = Tracker(elsewhere)
            for _ in range(3):
                assert tracker.begin(DATASET, START, None) is None
            assert len(calls) == 4

    def test_the_log_does_not_contain_the_password(self, caplog: pytest.LogCaptureFixture) -> None:
        with refusing_server("someone:hunter2@") as (url, _):
            refused = DayOutcome(DATASET, START, AttemptState.FAILED, None, None, None, error="x")
            Tracker(Settings({"SYNC_DATABASE_URL": url})).record(refused)
        assert logged(caplog) == [OUTAGE]
        assert "SYNC_DATABASE_URL" in caplog.text
        assert "hunter2" not in caplog.text


class OtherDatabase:
    """A database that a test creates, drops while it is in use, and then creates again."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        self._name = f"{template}_elsewhere"
        self.url = with_database(server_url, self._name)

    def create(self) -> None:
        self._run(f"CREATE DATABASE {self._name} TEMPLATE {self._template}")

    def drop(self) -> None:
        self._run(f"DROP DATABASE {self._name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with closing(psycopg2.connect(self._server_url)) as connection:
            connection.autocommit = True
            execute(connection, statement)


@contextmanager
def refusing_server(user: str = "") -> Iterator[tuple[str, list[object]]]:
    """Yield the URL of a server that closes every connection, and a list of those connections."""
    calls: list[object] = []
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept_and_close() -> None:
            while True:
                caller, address = server.accept()
                if not stopping.is_set():
                    calls.append(address)
                caller.close()
                if stopping.is_set():
                    return

        thread = threading.Thread(target=accept_and_close)
        thread.start()
        host, port = server.getsockname()
        plain = "sslmode=disable&gssencmode=disable"
        try:
            yield f"postgresql://{user}{host}:{port}/x?{plain}", calls
        finally:
            stopping.set()
            socket.create_connection((host, port)).close()
            thread.join(helpers.TIMEOUT_SECONDS)


def test_a_connection_that_broke_while_idle_is_reopened_without_logging_anything(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    syncing = pipeline.start(DAYS)
    results = [next(syncing)]
    cut = run(
        pipeline.target,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'sync_pipeline: tracking'",
    )
    results += list(syncing)
    assert cut == [(True,)]
    assert all_synced(pipeline, results)
    assert run(pipeline.target, STATUSES) == [(day, "success") for day in DAYS]
    assert logged(caplog) == []


_NO_SECOND_DAY = f"CONSTRAINT no_second_day CHECK (sync_date <> '{DAYS[1]}' OR {{}}) NOT VALID"


class TestRejected:
    """A constraint that was added to the tracking tables rejects a record."""

    def test_a_day_whose_success_is_rejected_fails_and_the_next_days_are_synced(
        self, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
    ) -> None:
        reject = _NO_SECOND_DAY.format("status <> 'success'")
        run(pipeline.target, f"ALTER TABLE daily_sync_status ADD {reject}")
        results = pipeline.sync(DAYS)
        assert [day for day in DAYS if day not in pipeline.loaded()] == [DAYS[1]]
        expected = ["success", "failed", "success", "success", "success"]
        assert [status for _, status in run(pipeline.target, STATUSES)] == expected
        assert (results[1].error or "").startswith(
            'the tracking tables reject the record: new row for relation "daily_sync_status" '
            'violates check constraint "no_second_day"'
        )
        assert logged(caplog) == []

    def test_a_day_whose_start_is_rejected_is_not_loaded_and_its_failure_is_kept(
        self, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
    ) -> None:
        reject = _NO_SECOND_DAY.format("false")
        run(pipeline.target, f"ALTER TABLE daily_sync_status ADD {reject}")
        results = pipeline.sync(DAYS)
        assert [r.day for r in results if r.outcome is Outcome.FAILED] == [DAYS[1]]
        assert DAYS[1] not in pipeline.loaded()
        kept = "SELECT outcome->>'day', outcome->>'state' FROM sync_outbox"
        assert (str(DAYS[1]), "failed") in run(pipeline.target, kept)
        assert logged(caplog) == [
            "ERROR 2025-10-02",
            "ERROR run run-1 ended with 1 events not recorded",
        ]

    def test_no_day_of_a_batch_is_loaded_if_the_record_of_the_batch_is_rejected(
        self, pipeline: Pipeline
    ) -> None:
        run(pipeline.target, "ALTER TABLE daily_sync_status ADD CHECK (kind = 'day') NOT VALID")
        batch = BatchSpec("batch-1", DATASET, DAYS, "run-1", "a test")
        with Tracker(pipeline.settings, run_id="run-1") as tracker:
            results = list(
                sync_days(
                    pipeline.dataset(),
                    DAYS,
                    settings=pipeline.settings,
                    tracker=tracker,
                    batch=batch,
                )
            )
        assert {result.outcome for result in results} == {Outcome.FAILED}
        assert pipeline.loaded() == {}

    def test_with_separate_records_a_rejected_success_stays_in_the_outbox(
        self,
        pipeline: Pipeline,
        make_database: Callable[[str | None], str],
        migrated_template: str,
    ) -> None:
        apart = Pipeline(pipeline.source, pipeline.target, make_database(migrated_template))
        assert apart.tracking is not None
        reject = _NO_SECOND_DAY.format("status <> 'success'")
        run(apart.tracking, f"ALTER TABLE daily_sync_status ADD {reject}")
        apart.sync(DAYS[:2])
        assert run(apart.target, "SELECT outcome->>'day' FROM sync_outbox") == [(str(DAYS[1]),)]

    def test_another_session_that_writes_the_same_row_does_not_count(
        self, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
    ) -> None:
        run(
            pipeline.target,
            "CREATE SEQUENCE calls",
            """CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   IF nextval('calls') = 1 THEN
                       RAISE 'a race' USING ERRCODE = 'unique_violation';
                   END IF;
                   RETURN NEW;
               END $$""",
            "CREATE TRIGGER fail_once BEFORE INSERT ON sync_attempt "
            "FOR EACH ROW EXECUTE FUNCTION fail_once()",
        )
        assert all_synced(pipeline, pipeline.sync(DAYS))
        assert logged(caplog) == []


class TestLocked:
    """A lock on the tracking tables does not stop a sync."""

    @pytest.mark.parametrize("freed_in_time", [True, False])
    def test_the_sync_waits_for_a_locked_table_and_then_continues_without_it(
        self,
        pipeline: Pipeline,
        connection: "Connection",
        monkeypatch: pytest.MonkeyPatch,
        no_backoff: None,
        caplog: pytest.LogCaptureFixture,
        freed_in_time: bool,
    ) -> None:
        if not freed_in_time:
            monkeypatch.setattr(tracking_connection, "LOCK_TIMEOUT_SECONDS", 0.3)
        with gate_closed(pipeline.source) as gate, in_thread(partial(pipeline.sync, DAYS)) as work:
            wait_until_blocked(connection, gate.info.backend_pid)
            # This shortens waits in a day's transaction, but not those on other open connections.
            monkeypatch.setattr(tracking_connection, "LOCK_TIMEOUT_SECONDS", 0.3)
            with transaction(pipeline.target) as held:
                held.execute("LOCK daily_sync_status")
                execute(gate, "SELECT pg_advisory_unlock(42)")
                wait_until(lambda: pipeline.loaded().get(DAYS[0 if freed_in_time else 2]))
            results = work.result(helpers.TIMEOUT_SECONDS)

        assert all_synced(pipeline, results)
        assert run(pipeline.target, STATUSES) == [(day, "success") for day in DAYS]
        assert logged(caplog)[0] == "WARNING dataset orders, day 2025-10-01"
        assert logged(caplog).count(OUTAGE) == (0 if freed_in_time else 1)


def test_a_worker_continues_while_the_tracking_database_is_empty(
    pipeline: Pipeline, make_database: Callable[[str | None], str], migrated_template: str
) -> None:
    elsewhere = make_database(migrated_template)
    syncing = Pipeline(pipeline.source, pipeline.target, elsewhere).start(DAYS)
    results = [next(syncing)]
    run(elsewhere, "DROP SCHEMA public CASCADE")
    results += list(syncing)
    assert all_synced(pipeline, results)


def test_a_worker_that_no_longer_fits_the_tables_stops_before_its_next_day(
    pipeline: Pipeline,
) -> None:
    syncing = pipeline.start(DAYS)
    first = next(syncing)
    run(pipeline.target, "ALTER FUNCTION sync_begin_day RENAME TO sync_begin_day_of_next_version")
    with pytest.raises(WorkerOutdatedError, match="run run-1: the tracking tables do not fit"):
        next(syncing)
    assert pipeline.loaded() == {first.day: ROWS_PER_DAY}
    assert run(pipeline.target, STATUSES) == [(first.day, "success")]


def test_a_superseded_worker_is_stopped_in_its_transaction_and_before_it(
    tracker: Tracker, database_url: str, connection: "Connection"
) -> None:
    attempt = begin(tracker)
    tracker.confirm(attempt)
    Worker(database_url, run_id="run-2").begin(START)
    with pytest.raises(SupersededError), transaction(database_url) as cursor:
        tracker.record_in(cursor, outcome_of(attempt, counts(1)), None, project=True)
    with pytest.raises(SupersededError):
        tracker.confirm(attempt)
    assert day_record(connection, START)["run_id"] == "run-2"
    assert day_record(connection, START)["status"] == "syncing"


def test_a_deadlock_victim_retries_its_write(
    tracker: Tracker,
    database_url: str,
    connection: "Connection",
    caplog: pytest.LogCaptureFixture,
) -> None:
    batch = open_batch(database_url, DAYS)
    attempt = tracker.begin(DATASET, START, as_requested(batch, DAYS))
    assert attempt is not None
    failed = outcome_of(attempt, error="disk full", batch=as_requested(batch, DAYS))
    with transaction(database_url) as other:
        # Lock the two records in the opposite order; the long timeout makes the tracker the victim.
        other.execute("SET LOCAL deadlock_timeout = '20s'")
        other.execute("SELECT FROM daily_sync_status WHERE id = %s FOR UPDATE", [batch.id])
        with in_thread(partial(tracker.record, failed)) as failing:
            wait_until_blocked(connection, other.connection.info.backend_pid)
            other.execute("SELECT FROM daily_sync_status WHERE kind = 'day' FOR UPDATE")
            other.connection.commit()
            failing.result(helpers.TIMEOUT_SECONDS)
    assert record(connection, batch.id)["failed_count"] == 1
    assert logged(caplog) == []


def test_two_workers_that_finish_at_the_same_time_are_both_counted_at_any_default_isolation(
    tracker: Tracker, database_url: str, connection: "Connection"
) -> None:
    name = psycopg2.extensions.parse_dsn(database_url)["dbname"]
    run(
        database_url,
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'",
    )
    batch = open_batch(database_url, DAYS[:2])
    other = Worker(database_url, batch)
    other_attempt = other.begin(DAYS[1])
    ours = tracker.begin(DATASET, START, as_requested(batch, DAYS[:2]))
    assert ours is not None
    with transaction(database_url) as cursor:
        other.succeed_in(cursor, other_attempt)
        outcome = outcome_of(ours, counts(1), batch=as_requested(batch, DAYS[:2]))
        with in_thread(partial(tracker.record, outcome)) as succeeding:
            wait_until_blocked(connection, cursor.connection.info.backend_pid)
            cursor.connection.commit()
            succeeding.result(helpers.TIMEOUT_SECONDS)
    assert record(connection, batch.id)["success_count"] == 2
