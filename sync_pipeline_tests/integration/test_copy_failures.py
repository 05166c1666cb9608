"""A day that cannot be replaced completely keeps its existing rows, whatever the failure."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import CountMismatchError, DayLockedError, SourceError, TargetError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat, Source
from sync_pipeline.targets import open_target
from sync_pipeline.targets.postgres import Target
from sync_pipeline_tests.integration.helpers import replace_day, run
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAY = date(2025, 10, 2)
NEXT = DAY + timedelta(days=1)
ROWS = 200_000
# Reading a day's last row fails if the table `broken` contains that day.
SOURCE = (
    "CREATE TABLE orders (id int, day date, filler text)",
    f"INSERT INTO orders SELECT n, '2025-10-02', repeat('x', 60) FROM generate_series(1, {ROWS}) n",
    "INSERT INTO orders VALUES (1, '2025-10-03', '')",
    "CREATE TABLE broken (day date)",
)
QUERY = (
    "SELECT id, day, filler, 1 / CASE WHEN id = 200000 AND "
    "day IN (SELECT day FROM broken) THEN 0 ELSE 1 END AS one FROM orders"
)


def make_dataset(*, query: str = QUERY, lock_timeout: float = 5) -> Dataset:
    return Dataset.model_validate(
        {
            "name": "sales",
            "start_date": date(2025, 1, 1),
            "source": {"url_env": "SYNC_SOURCE_URL", "query": query, "day_column": "day"},
            "target": {"table": "orders", "lock_timeout_seconds": lock_timeout},
        }
    )


class Worker:
    """A worker's source and target."""

    def __init__(self, source: Source, connection: "Connection", target: Target) -> None:
        self.source = source
        self.connection = connection
        self.target = target

    def sync(self, day: date) -> int:
        """Replace `day`, commit, and return the number of rows loaded; roll back on any failure."""
        try:
            self.target.begin_day(day)
            loaded = replace_day(self.target, day, self.source).rows_loaded
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()
        return loaded


@contextmanager
def working(source_url: str, target_url: str, **given: Any) -> Iterator[Worker]:
    dataset = make_dataset(**given)
    settings = Settings({"SYNC_SOURCE_URL": source_url, "SYNC_DATABASE_URL": target_url})
    with (
        closing(open_source(dataset, settings)) as source,
        closing(open_target(dataset, settings)) as connection,
    ):
        target = Target(connection, dataset)
        target.prepare(source.shape)
        yield Worker(source, connection, target)
        target.close()


@pytest.fixture
def worker(source_url: str, database_url: str) -> Iterator[Worker]:
    """Yield a worker whose target has one row for the day; then check that no read is left."""
    run(source_url, *SOURCE)
    with working(source_url, database_url) as made:
        run(database_url, "INSERT INTO orders (id, day) VALUES (-1, '2025-10-02')")
        yield made
    wait_until(lambda: not any("read " in thread.name for thread in threading.enumerate()))


def keeps_existing_row(url: str) -> bool:
    return run(url, "SELECT id FROM orders") == [(-1,)]


def reading_sessions(url: str) -> int:
    [(count,)] = run(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
        "AND backend_type = 'client backend' "
        "AND application_name = 'sync_pipeline: read sales' AND datname = current_database()",
    )
    assert isinstance(count, int)
    return count


def test_if_the_source_fails_midway_its_error_is_raised_and_the_existing_rows_remain(
    worker: Worker, source_url: str, database_url: str
) -> None:
    run(source_url, "INSERT INTO broken VALUES ('2025-10-02')")
    with pytest.raises(SourceError, match="cannot read 2025-10-02 from the query: division by"):
        worker.sync(DAY)
    assert keeps_existing_row(database_url)

    run(source_url, "DELETE FROM broken")
    assert worker.sync(DAY) == ROWS


def test_the_driver_error_is_the_cause(worker: Worker, source_url: str) -> None:
    run(source_url, "INSERT INTO broken VALUES ('2025-10-02')")
    with pytest.raises(SourceError) as raised:
        worker.sync(DAY)
    assert getattr(raised.value.__cause__, "pgcode", None) == "22012"


def test_a_source_connection_lost_midway_is_reopened_and_the_existing_rows_remain(
    worker: Worker, source_url: str, database_url: str
) -> None:
    # The target pauses after some rows, so that the pipe fills up and the source waits midway.
    run(
        database_url,
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END $$",
        "CREATE TRIGGER pausing BEFORE INSERT ON orders "
        "FOR EACH ROW WHEN (NEW.id = 1000) EXECUTE FUNCTION pause()",
    )
    ending = threading.Timer(0.7, end_reader, args=(source_url,))
    ending.start()
    with pytest.raises(SourceError, match="cannot read 2025-10-02") as raised:
        worker.sync(DAY)
    ending.join()
    assert isinstance(raised.value.__cause__, psycopg2.Error)
    assert keeps_existing_row(database_url)
    assert worker.sync(NEXT) == 1


def end_reader(url: str) -> None:
    ended = run(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' "
        "AND backend_type = 'client backend' "
        "AND application_name = 'sync_pipeline: read sales' AND datname = current_database()",
    )
    assert ended == [(True,)]


def test_if_the_target_rejects_a_row_the_source_is_stopped_and_the_existing_rows_remain(
    worker: Worker, source_url: str, database_url: str
) -> None:
    run(database_url, "ALTER TABLE orders ADD CONSTRAINT small CHECK (id < 100)")
    with pytest.raises(TargetError, match='violates check constraint "small"') as raised:
        worker.sync(DAY)
    assert getattr(raised.value.__cause__, "pgcode", None) == "23514"
    assert reading_sessions(source_url) == 0
    assert keeps_existing_row(database_url)
    assert worker.sync(NEXT) == 1


def test_a_target_that_fails_immediately_does_not_wait_for_a_slow_source(
    source_url: str, database_url: str
) -> None:
    query = "SELECT date '2025-10-02' AS day, pg_sleep(60)::text AS slept"
    with working(source_url, database_url, query=query) as worker:
        run(database_url, "ALTER TABLE orders DROP slept")
        started = time.monotonic()
        with pytest.raises(TargetError, match='column "slept" of relation "orders"'):
            worker.sync(DAY)
        assert time.monotonic() - started < 10
        assert reading_sessions(source_url) == 0


def test_a_trigger_that_drops_rows_is_detected_by_the_counts(
    worker: Worker, database_url: str
) -> None:
    run(
        database_url,
        "CREATE FUNCTION drop_some() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.id % 1000 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER dropping BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION drop_some()",
    )
    with pytest.raises(
        CountMismatchError, match="returned 200000 rows for 2025-10-02, but orders stored 199800"
    ):
        worker.sync(DAY)
    assert keeps_existing_row(database_url)
    assert worker.sync(NEXT) == 1


def test_the_error_for_a_locked_day_names_the_holder(
    worker: Worker, source_url: str, database_url: str
) -> None:
    with working(source_url, database_url, lock_timeout=0.2) as late:
        worker.target.begin_day(DAY)
        with pytest.raises(DayLockedError) as raised:
            late.sync(DAY)
        pid = worker.connection.info.backend_pid
        assert "dataset sales: 2025-10-02 is being loaded by" in str(raised.value)
        assert f"'sync_pipeline: sync sales' (pid {pid})" in str(raised.value)

        assert late.sync(NEXT) == 1  # another day is not locked
        worker.connection.rollback()
        assert late.sync(DAY) == ROWS


def test_a_worker_that_waited_for_the_lock_replaces_the_committed_rows(
    worker: Worker, source_url: str, database_url: str
) -> None:
    # This must work even if the default isolation level would hide rows committed during the wait.
    name = database_url.split("?")[0].rpartition("/")[2]
    run(
        database_url,
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'",
    )
    with working(source_url, database_url) as second:
        worker.target.begin_day(NEXT)
        replace_day(worker.target, NEXT, worker.source)
        waiting = threading.Thread(target=second.sync, args=(NEXT,))
        waiting.start()
        time.sleep(0.3)
        worker.connection.commit()
        waiting.join(10)
    assert run(database_url, "SELECT count(*) FROM orders WHERE day = '2025-10-03'") == [(1,)]


class Interrupted(BaseException):
    """The exception that a framework's signal handler raises to end a run."""


@pytest.mark.parametrize("after", [0.1, 0.2, 0.4])
def test_a_signal_handlers_exception_is_raised_and_the_existing_rows_remain(
    worker: Worker, source_url: str, database_url: str, after: float
) -> None:
    # Slow inserts ensure that the signal arrives during the load, on any machine.
    run(
        database_url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$",
        "CREATE TRIGGER slowing BEFORE INSERT ON orders "
        "FOR EACH ROW WHEN (NEW.id % 1000 = 0) EXECUTE FUNCTION slow()",
    )

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        with pytest.raises(Interrupted):
            worker.sync(DAY)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    wait_until(lambda: reading_sessions(source_url) == 0)  # the query is cancelled a moment later
    assert keeps_existing_row(database_url)
    run(database_url, "DROP TRIGGER slowing ON orders")
    assert worker.sync(NEXT) == 1
    assert worker.sync(DAY) == ROWS


def test_if_the_target_connection_is_lost_its_error_is_raised_and_the_source_is_stopped(
    worker: Worker, source_url: str, database_url: str
) -> None:
    worker.target.begin_day(DAY)
    run(database_url, f"SELECT pg_terminate_backend({worker.connection.info.backend_pid})")
    with pytest.raises(TargetError, match="cannot load 2025-10-02") as raised:
        replace_day(worker.target, DAY, worker.source)
    assert isinstance(raised.value.__cause__, psycopg2.Error)
    assert worker.connection.closed
    assert reading_sessions(source_url) == 0
    assert keeps_existing_row(database_url)


def test_an_unexpected_exception_from_a_source_is_raised_unchanged(
    worker: Worker, database_url: str
) -> None:
    class Buggy:
        shape = worker.source.shape

        def read_day(self, day: date, out: Any, copy_format: CopyFormat) -> int:
            out.write(b"PGCOPY\n\xff\r\n\0")
            raise ZeroDivisionError

        def cancel(self) -> None: ...

        def close(self) -> None: ...

    worker.target.begin_day(DAY)
    with pytest.raises(ZeroDivisionError):
        replace_day(worker.target, DAY, Buggy())
    worker.connection.rollback()
    assert keeps_existing_row(database_url)


def test_a_source_that_returns_a_wrong_count_fails_the_day(
    worker: Worker, database_url: str
) -> None:
    class Miscounting:
        shape = worker.source.shape
        cancel = worker.source.cancel
        close = worker.source.close

        def read_day(self, day: date, out: Any, copy_format: CopyFormat) -> int:
            return worker.source.read_day(day, out, copy_format) + 1

    worker.target.begin_day(DAY)
    with pytest.raises(CountMismatchError, match="returned 200001 rows"):
        replace_day(worker.target, DAY, Miscounting())
    worker.connection.rollback()
    assert keeps_existing_row(database_url)
