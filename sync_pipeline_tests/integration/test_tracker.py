"""A failure to track is logged once and never stops a sync; a day taken away does."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg2
import pytest

from sync_pipeline.errors import SupersededError
from sync_pipeline.settings import Settings, with_database
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline.tracking.models import Attempt, NewBatch, StartedDay
from sync_pipeline.tracking.worker import connection, ledger
from sync_pipeline.tracking.worker import tracker as tracker_module
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    DATASET,
    ROWS_PER_DAY,
    START,
    Pipeline,
    Worker,
    as_asked,
    counts,
    day_record,
    execute,
    gate_closed,
    in_thread,
    open_batch,
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
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that could not be reached are tried again at once."""
    monkeypatch.setattr(connection, "_INITIAL_BACKOFF_SECONDS", 0.0)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run does not wait for tables that are away."""
    monkeypatch.setattr(ledger, "FLUSH_TIMEOUT_SECONDS", 0.0)


@pytest.fixture
def tracker(database_url: str) -> Iterator[Tracker]:
    with Tracker(Settings({"SYNC_DATABASE_URL": database_url}), run_id="run-1") as made:
        yield made


def begin(tracker: Tracker) -> Attempt:
    attempt = tracker.begin(DATASET, START, None)
    assert attempt is not None
    return attempt


def begun(attempt: Attempt, batch: NewBatch | None = None) -> StartedDay:
    return StartedDay(DATASET, attempt.day, batch, attempt, time.monotonic())


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The level of each line of the tracker's log, and what it begins with."""
    return [
        f"{line.levelname} {line.getMessage().split(':')[0]}"
        for line in caplog.records
        if line.name == tracker_module.__name__
    ]


def all_in(pipeline: Pipeline, results: list[DayResult]) -> bool:
    return all(
        result.outcome is Outcome.SUCCESS for result in results
    ) and pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)


OWED = "ERROR run {} ended with {} events not recorded"
WENT_DOWN = "ERROR tracking failed, the sync continues without it"
CAME_BACK = "INFO the tracking tables are available again"


class TestDown:
    """Tracking tables that are on another server, and cannot be reached."""

    def test_they_go_and_come_back_while_days_are_synced(
        self,
        pipeline: Pipeline,
        database_url: str,
        server_url: str,
        migrated_template: str,
        no_pause: None,
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

        assert all_in(pipeline, results)
        assert logged(caplog) == [WENT_DOWN, CAME_BACK]
        # What was committed before they went is theirs to keep; all else is written late.
        assert run(elsewhere.url, STATUSES) == [(day, "success") for day in DAYS[1:]]
        elsewhere.drop()

    def test_a_batch_that_cannot_be_opened_is_synced_all_the_same(
        self, pipeline: Pipeline, caplog: pytest.LogCaptureFixture, no_wait: None
    ) -> None:
        pipeline.sync(DAYS[:2])
        run(pipeline.target, "DROP TABLE daily_sync_status CASCADE")
        with Tracker(pipeline.settings) as tracker:
            assert tracker.open_batch(NewBatch("key", DATASET, DAYS)) is None
        assert all_in(pipeline, pipeline.sync(DAYS, None, resync=False))
        opening, left_by_opening, *syncing, left_by_run = logged(caplog)
        assert (opening, left_by_opening) == (WENT_DOWN, OWED.format(None, 1))
        # Other tables are still there: each that can be written looks like the outage's end.
        assert set(syncing) == {WENT_DOWN}
        assert left_by_run == OWED.format("run-1", 5)

    def test_a_batch_is_opened_late_when_they_come_back(
        self,
        pipeline: Pipeline,
        database_url: str,
        server_url: str,
        migrated_template: str,
        no_pause: None,
    ) -> None:
        elsewhere = OtherDatabase(server_url, migrated_template)
        settings = Pipeline(pipeline.source, database_url, elsewhere.url).settings
        new = NewBatch("key", DATASET, DAYS)
        with Tracker(settings) as tracker:
            assert tracker.open_batch(new) is None
            assert tracker.batch_days(new) == {}
            assert tracker.begin(DATASET, START, new) is None
            elsewhere.create()
            attempt = tracker.begin(DATASET, DAYS[1], new)
            assert attempt is not None
            tracker.succeed(begun(attempt, new), counts(1), at=time.monotonic(), refresh=True)
        opened = "SELECT id, success_count, total_days FROM daily_sync_status WHERE kind = 'batch'"
        assert run(elsewhere.url, opened) == [(attempt.batch_id, 1, 5)]
        elsewhere.drop()

    def test_they_are_left_alone_for_a_while_before_they_are_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with hanging_up() as (url, calls):
            elsewhere = Settings({"SYNC_DATABASE_URL": "postgresql:///x", "SYNC_TRACKING_URL": url})
            tracker = Tracker(elsewhere)
            for _ in range(20):
                assert tracker.begin(DATASET, START, None) is None
            assert len(calls) == 1

            monkeypatch.setattr(connection, "_INITIAL_BACKOFF_SECONDS", 0.0)
            tracker = Tracker(elsewhere)
            for _ in range(3):
                assert tracker.begin(DATASET, START, None) is None
            assert len(calls) == 4

    def test_the_log_shows_no_password(self, caplog: pytest.LogCaptureFixture) -> None:
        with hanging_up("someone:hunter2@") as (url, _):
            Tracker(Settings({"SYNC_DATABASE_URL": url})).refuse(DATASET, START, None, "x")
        assert logged(caplog) == [WENT_DOWN]
        assert "SYNC_DATABASE_URL" in caplog.text
        assert "hunter2" not in caplog.text


class OtherDatabase:
    """A database that a test makes, drops while it is in use, and makes again."""

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
def hanging_up(user: str = "") -> Iterator[tuple[str, list[object]]]:
    """A server that hangs up on whoever calls: its URL, and the calls it took."""
    calls: list[object] = []
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                caller, address = server.accept()
                if not over.is_set():
                    calls.append(address)
                caller.close()
                if over.is_set():
                    return

        thread = threading.Thread(target=answer)
        thread.start()
        host, port = server.getsockname()
        plain = "sslmode=disable&gssencmode=disable"
        try:
            yield f"postgresql://{user}{host}:{port}/x?{plain}", calls
        finally:
            over.set()
            socket.create_connection((host, port)).close()
            thread.join(helpers.TIMEOUT_SECONDS)


def test_a_connection_that_was_cut_while_idle_is_opened_again_without_a_word(
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
    assert all_in(pipeline, results)
    assert run(pipeline.target, STATUSES) == [(day, "success") for day in DAYS]
    assert logged(caplog) == []


class TestRefused:
    """A record that the database doesn't take, in the transaction that loads the day's rows."""

    def test_the_rows_stay_and_the_next_days_are_recorded(
        self, pipeline: Pipeline, connection: "Connection", caplog: pytest.LogCaptureFixture
    ) -> None:
        run(
            pipeline.target,
            f"ALTER TABLE daily_sync_status ADD CHECK (sync_date <> '{DAYS[1]}' "
            "OR status <> 'success')",
        )
        assert all_in(pipeline, pipeline.sync(DAYS))
        expected = ["success", "syncing", "success", "success", "success"]
        assert [status for _, status in run(pipeline.target, STATUSES)] == expected
        assert logged(caplog) == [
            "WARNING dataset orders, day 2025-10-02",
            "ERROR record rejected, the sync continues",
        ]

    @pytest.mark.parametrize("freed_in_time", [True, False])
    def test_a_locked_table_is_waited_for_and_then_gone_on_without(
        self,
        pipeline: Pipeline,
        connection: "Connection",
        monkeypatch: pytest.MonkeyPatch,
        no_pause: None,
        caplog: pytest.LogCaptureFixture,
        freed_in_time: bool,
    ) -> None:
        if not freed_in_time:
            monkeypatch.setattr(connection, "LOCK_TIMEOUT_SECONDS", 0.3)
        with gate_closed(pipeline.source) as gate, in_thread(partial(pipeline.sync, DAYS)) as work:
            wait_until_blocked(connection, gate.info.backend_pid)
            # From here on only the wait within the day's transaction is short.
            monkeypatch.setattr(connection, "LOCK_TIMEOUT_SECONDS", 0.3)
            with transaction(pipeline.target) as held:
                held.execute("LOCK daily_sync_status")
                execute(gate, "SELECT pg_advisory_unlock(42)")
                wait_until(lambda: pipeline.loaded().get(DAYS[0 if freed_in_time else 2]))
            results = work.result(helpers.TIMEOUT_SECONDS)

        assert all_in(pipeline, results)
        assert run(pipeline.target, STATUSES) == [(day, "success") for day in DAYS]
        assert logged(caplog)[0] == "WARNING dataset orders, day 2025-10-01"
        assert logged(caplog).count(WENT_DOWN) == (0 if freed_in_time else 1)


def test_a_day_taken_away_stops_its_worker_within_its_transaction_and_before_it(
    tracker: Tracker, database_url: str, connection: "Connection"
) -> None:
    attempt = begin(tracker)
    tracker.confirm(attempt)
    Worker(database_url, run_id="run-2").begin(START)
    with pytest.raises(SupersededError), transaction(database_url) as cursor:
        tracker.succeed_in(cursor, attempt, counts(1), refresh=True)
    with pytest.raises(SupersededError):
        tracker.confirm(attempt)
    assert day_record(connection, START)["run_id"] == "run-2"
    assert day_record(connection, START)["status"] == "syncing"


def test_the_victim_of_a_deadlock_writes_again(
    tracker: Tracker,
    database_url: str,
    connection: "Connection",
    caplog: pytest.LogCaptureFixture,
) -> None:
    batch = open_batch(database_url, DAYS)
    attempt = tracker.begin(DATASET, START, as_asked(batch, DAYS))
    assert attempt is not None
    with transaction(database_url) as other:
        # It takes the two records in the other order, and its wait would last longer.
        other.execute("SET LOCAL deadlock_timeout = '20s'")
        other.execute("SELECT FROM daily_sync_status WHERE id = %s FOR UPDATE", [batch.id])
        with in_thread(partial(tracker.fail, begun(attempt), "disk full")) as failing:
            wait_until_blocked(connection, other.connection.info.backend_pid)
            other.execute("SELECT FROM daily_sync_status WHERE kind = 'day' FOR UPDATE")
            other.connection.commit()
            failing.result(helpers.TIMEOUT_SECONDS)
    assert record(connection, batch.id)["failed_count"] == 1
    assert logged(caplog) == []


def test_two_workers_that_finish_at_once_are_both_counted_whatever_the_servers_isolation(
    tracker: Tracker, database_url: str, connection: "Connection"
) -> None:
    name = psycopg2.extensions.parse_dsn(database_url)["dbname"]
    run(
        database_url,
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'",
    )
    batch = open_batch(database_url, DAYS[:2])
    other = Worker(database_url, batch)
    its_attempt = other.begin(DAYS[1])
    ours = tracker.begin(DATASET, START, as_asked(batch, DAYS[:2]))
    assert ours is not None
    with transaction(database_url) as cursor:
        other.succeed_in(cursor, its_attempt)
        day = begun(ours, as_asked(batch, DAYS[:2]))
        succeed = partial(tracker.succeed, day, counts(1), at=time.monotonic(), refresh=True)
        with in_thread(succeed) as succeeding:
            wait_until_blocked(connection, cursor.connection.info.backend_pid)
            cursor.connection.commit()
            succeeding.result(helpers.TIMEOUT_SECONDS)
    assert record(connection, batch.id)["success_count"] == 2
