"""Helpers for tracking and sync tests: transactions, workers, pipelines and threads."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
from psycopg2 import sql
from psycopg2.extras import RealDictCursor

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import Settings
from sync_pipeline.sources.base import Source
from sync_pipeline.sync.days import DayResult, sync_days
from sync_pipeline.targets.postgres import Loaded, Target
from sync_pipeline.tracking.models import (
    NO_ROWS,
    Attempt,
    AttemptState,
    Batch,
    BatchSpec,
    DayCounts,
    DayOutcome,
)
from sync_pipeline.tracking.state import attempts, batches
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

DATASET = "orders"
START = date(2025, 10, 1)
TIMEOUT_SECONDS = 60
_T = TypeVar("_T")


def days(count: int, start: date = START) -> list[date]:
    return [start + timedelta(days=n) for n in range(count)]


def counts(rows: int) -> DayCounts:
    return DayCounts(rows_read=rows, rows_loaded=rows, rows_rejected=0, bytes=rows * 10)


def clear(url: str) -> str:
    """Empty the tracking tables in a database shared by many tests; return its URL."""
    with transaction(url) as cursor:
        cursor.execute("DELETE FROM sync_attempt; DELETE FROM daily_sync_status")
    return url


def replace_day(target: Target, day: date, source: Source) -> Loaded:
    """Replace one day's rows in the transaction started by `begin_day`."""
    with target.read_ahead(day, source) as read_ahead:
        return target.load_day(read_ahead)


@contextmanager
def transaction(url: str) -> Iterator["Cursor"]:
    """Yield a cursor in a transaction on a new connection; commit at the end of the block."""
    with (
        closing(psycopg2.connect(url, options="-c TimeZone=UTC")) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET statement_timeout = %s", [TIMEOUT_SECONDS * 1000])
        yield cursor


def run(url: str, *statements: str | sql.Composable) -> list[tuple[Any, ...]]:
    """Run `statements` in one transaction; return the rows from the last statement."""
    with transaction(url) as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def rows(connection: "Connection", statement: str, values: Any = None) -> list[dict[str, Any]]:
    """Run one query; return its rows as dicts keyed by column name."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(statement, values)
        return [dict(row) for row in cursor.fetchall()]


def execute(connection: "Connection", statement: str, values: Any = None) -> int:
    """Run one statement; return how many rows it affected."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.rowcount


def record(connection: "Connection", record_id: int) -> dict[str, Any]:
    (found,) = rows(connection, "SELECT * FROM daily_sync_status WHERE id = %s", [record_id])
    return found


def day_record(connection: "Connection", day: date) -> dict[str, Any]:
    (found,) = rows(
        connection,
        "SELECT * FROM daily_sync_status WHERE dataset = %s AND sync_date = %s AND kind = 'day'",
        [DATASET, day],
    )
    return found


def history(connection: "Connection", day: date) -> list[dict[str, Any]]:
    """Return the attempts for a day, oldest first."""
    return rows(
        connection,
        "SELECT * FROM sync_attempt WHERE dataset = %s AND sync_date = %s ORDER BY id",
        [DATASET, day],
    )


def states(connection: "Connection", day: date = START) -> list[tuple[Any, ...]]:
    """Return each attempt's number, its state and whether it is current, oldest attempt first."""
    return [(a["attempt"], a["state"], not a["superseded"]) for a in history(connection, day)]


def everything(connection: "Connection") -> list[dict[str, Any]]:
    """Return all attempts, followed by all records."""
    return [
        *rows(connection, "SELECT * FROM sync_attempt ORDER BY id"),
        *rows(connection, "SELECT * FROM daily_sync_status ORDER BY id"),
    ]


@dataclass(frozen=True)
class Worker:
    """A worker that syncs days, with or without a batch; each step is committed separately."""

    url: str
    batch: Batch | None = None
    run_id: str = "run-1"
    dataset: str = DATASET

    @property
    def batch_id(self) -> int | None:
        return None if self.batch is None else self.batch.id

    def begin(self, day: date) -> Attempt:
        with transaction(self.url) as cursor:
            return self.begin_in(cursor, day)

    def begin_in(self, cursor: "Cursor", day: date, *, resync: bool = True) -> Attempt:
        return attempts.begin(
            cursor,
            self.dataset,
            day,
            batch_id=self.batch_id,
            run_id=self.run_id,
            triggered_by="a test",
            resync=resync,
        )

    def succeed(self, attempt: Attempt, row_count: int = 100) -> None:
        with transaction(self.url) as cursor:
            self.succeed_in(cursor, attempt, row_count)

    def succeed_in(self, cursor: "Cursor", attempt: Attempt, row_count: int = 100) -> None:
        succeed(cursor, attempt, counts(row_count), run_id=self.run_id)

    def fail(self, attempt: Attempt, error: str = "disk full") -> None:
        with transaction(self.url) as cursor:
            fail(cursor, attempt, error, run_id=self.run_id)

    def sync(self, *to_sync: date, row_count: int = 100) -> None:
        for day in to_sync:
            self.succeed(self.begin(day), row_count)

    def break_at(self, *to_fail: date, error: str = "disk full") -> None:
        for day in to_fail:
            self.fail(self.begin(day), error)

    def refuse(self, day: date, error: str = "another worker has it") -> None:
        with transaction(self.url) as cursor:
            refuse(cursor, day, error, self.batch_id, self.run_id, dataset=self.dataset)

    def skip(self, *to_skip: date) -> None:
        assert self.batch is not None
        with transaction(self.url) as cursor:
            attempts.skip(cursor, self.batch.id, to_skip, self.run_id)

    def mark_not_run(
        self, error: str, only: Sequence[date] | None = None, run_id: str | None = None
    ) -> int:
        assert self.batch is not None
        with transaction(self.url) as cursor:
            return batches.mark_not_run(cursor, self.batch.id, error, only, run_id=run_id)

    def fail_run(self, error: str) -> int:
        with transaction(self.url) as cursor:
            return attempts.fail_run(cursor, self.run_id, error)

    def project(self) -> None:
        assert self.batch is not None
        with transaction(self.url) as cursor:
            batches.project(cursor, self.batch.id)


def outcome_of(
    attempt: Attempt,
    counted: DayCounts = NO_ROWS,
    error: str | None = None,
    *,
    batch: BatchSpec | None = None,
    run_id: str | None = "run-1",
) -> DayOutcome:
    """Return the outcome of a started attempt: a failure if `error` is given."""
    return DayOutcome(
        attempt.dataset,
        attempt.day,
        AttemptState.SUCCESS if error is None else AttemptState.FAILED,
        run_id,
        "a test",
        batch,
        attempt.id,
        attempt.number,
        seconds=0.0,
        counts=counted,
        error=error,
    )


def succeed(
    cursor: "Cursor",
    attempt: Attempt,
    counted: DayCounts,
    *,
    run_id: str | None = "run-1",
    project: bool = True,
) -> None:
    """Record a success as the transaction that loads the day does."""
    outcome = outcome_of(attempt, counted, run_id=run_id)
    attempts.record_outcome(cursor, outcome, attempt.batch_id, fence=True, project=project)


def fail(cursor: "Cursor", attempt: Attempt, error: str, *, run_id: str | None = "run-1") -> None:
    """Record that a started attempt failed."""
    outcome = outcome_of(attempt, error=error, run_id=run_id)
    attempts.record_outcome(cursor, outcome, attempt.batch_id)


def refuse(
    cursor: "Cursor",
    day: date,
    error: str,
    batch_id: int | None,
    run_id: str | None,
    *,
    dataset: str = DATASET,
) -> None:
    """Record that a day could not start."""
    refused = DayOutcome(
        dataset, day, AttemptState.FAILED, run_id, "a test", batch=None, error=error
    )
    attempts.record_outcome(cursor, refused, batch_id)


def clock(cursor: "Cursor") -> datetime:
    """Return the database's current time."""
    cursor.execute("SELECT clock_timestamp()")
    ((now,),) = cursor.fetchall()
    assert isinstance(now, datetime)
    return now


ROWS_PER_DAY = 10
_SOURCE = """
DROP TABLE IF EXISTS orders, broken CASCADE;
CREATE TABLE orders (day date, id integer, amount integer);
INSERT INTO orders SELECT date '2025-10-01' + n / 10, n, n * 10 FROM generate_series(0, 119) n;
-- Reading one of these days loses the connection after half of the rows.
CREATE TABLE broken (day date);
CREATE OR REPLACE FUNCTION wait_at_gate() RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN true; END $$;
CREATE VIEW orders_source AS SELECT *, CASE
    WHEN id % 10 = 5 AND day IN (SELECT day FROM broken) THEN pg_terminate_backend(pg_backend_pid())
    WHEN id % 10 = 5 THEN wait_at_gate() END AS passed FROM orders;
"""


@dataclass(frozen=True)
class Pipeline:
    """The dataset `orders`: twelve days of ten rows each. If `tracking` is None, the records are
    kept in the target database."""

    source: str
    target: str
    tracking: str | None = None

    def make_source(self) -> None:
        run(self.source, _SOURCE)

    @property
    def settings(self) -> Settings:
        urls = {"SYNC_SOURCE_URL": self.source, "SYNC_DATABASE_URL": self.target}
        return Settings(urls | ({"SYNC_TRACKING_URL": self.tracking} if self.tracking else {}))

    def dataset(self, **changes: Any) -> Dataset:
        source = {"url_env": "SYNC_SOURCE_URL", "table": "orders_source", "day_column": "day"}
        target: dict[str, Any] = {"table": "orders", "lock_timeout_seconds": 0.2}
        target |= changes.pop("target", {})
        given = {"name": DATASET, "start_date": START, "source": source, "target": target}
        given |= {"retry": {"max_attempts": 1}}
        return Dataset.model_validate(given | changes)

    def start(
        self,
        of: Sequence[date],
        batch: Batch | None = None,
        *,
        resync: bool = True,
        run_id: str = "run-1",
        **changes: Any,
    ) -> Iterator[DayResult]:
        """Sync these days one at a time, each only when the caller asks for its result."""
        with Tracker(self.settings, run_id=run_id, triggered_by="a test") as tracker:
            yield from sync_days(
                self.dataset(**changes),
                of,
                settings=self.settings,
                tracker=tracker,
                batch=None if batch is None else as_requested(batch, of),
                resync=resync,
            )

    def sync(self, of: Sequence[date], batch: Batch | None = None, **how: Any) -> list[DayResult]:
        return list(self.start(of, batch, **how))

    def loaded(self) -> dict[date, int]:
        """Return the number of rows in the target, keyed by day."""
        return dict(run(self.target, "SELECT day, count(*) FROM orders GROUP BY day ORDER BY day"))


@contextmanager
def gate_closed(url: str) -> Iterator["Connection"]:
    """During the block, make readers of the pipeline's source wait midway through each day."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        execute(connection, "SELECT pg_advisory_lock(42)")
        yield connection


def open_batch(url: str, of: Sequence[date], key: str = "batch-1", dataset: str = DATASET) -> Batch:
    with transaction(url) as cursor:
        batches.open_batch(cursor, BatchSpec(key, dataset, of, "run-1", "a test"))
        batch = batches.find_batch(cursor, key, dataset)
        assert batch is not None
        return batch


def as_requested(batch: Batch, of: Sequence[date]) -> BatchSpec:
    """Return the request that a run would make to continue this batch."""
    return BatchSpec(batch.batch_key, batch.dataset, of, "run-1", "a test")


class Interrupted(BaseException):
    """The exception that a framework's signal handler raises to end a run."""


def at_once(work: Sequence[Callable[[], _T]]) -> list[_T]:
    """Call all functions in `work` simultaneously, each in its own thread; return their results."""
    barrier = threading.Barrier(len(work))

    def start(one: Callable[[], _T]) -> _T:
        barrier.wait(TIMEOUT_SECONDS)
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(TIMEOUT_SECONDS) for future in [pool.submit(start, w) for w in work]]


@contextmanager
def in_thread(work: Callable[[], _T]) -> Iterator["Future[_T]"]:
    """Start `work` in a thread and yield its future; wait for the thread when the block ends."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def wait_until_blocked(connection: "Connection", by_pid: int) -> None:
    """Wait until some session is waiting for a lock held by the session with PID `by_pid`."""
    # pg_stat_activity would not do: it does not change within a transaction on `connection`.
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))"
    wait_until(lambda: execute(connection, waiting, [by_pid]), TIMEOUT_SECONDS)
