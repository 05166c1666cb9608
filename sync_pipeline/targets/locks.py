"""The lock on one day of a dataset, and the timeouts for the day's transaction.

Locks are advisory locks in the target database, and are released when the transaction ends.
`pg_locks` shows a hash for the dataset as `classid` and the day's ordinal as `objid`. Does not
limit how many workers read a source: see `slots.py`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from psycopg2 import errors

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import DayLockedError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

IDLE_SECONDS = 45
"""The idle timeout of a day's transaction. A worker's wait for the tracking tables is shorter."""

# READ COMMITTED regardless of the server's default: the DELETE must see rows that were committed
# while this session waited for the lock.
_BEGIN = """
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = %(lock_timeout)s;
SET LOCAL statement_timeout = %(statement_timeout)s;
"""
_LOCK_DAY = "SELECT pg_advisory_xact_lock(hashtext(%(key)s), %(number)s)"
_TRY_DAY = "SELECT pg_try_advisory_xact_lock(hashtext(%(key)s), %(number)s)"
_LOCK_TABLE = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"
_HOLDER = """
SELECT l.pid, a.application_name
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.classid::bigint = hashtext(%(key)s) & 4294967295 AND l.objid::bigint = %(number)s
"""
_RUN_PREFIX = "sync run "
_RUN = re.compile(rf".*: {_RUN_PREFIX}(\S+)")


def session_purpose(dataset: Dataset, run_id: str | None) -> str:
    """Return the `purpose` (see `database.connections.connect`) of a session that loads days.

    It becomes part of `application_name`, where other workers read which run holds a lock.
    """
    return f"sync {dataset.name}" if run_id is None else session_purposes(run_id)[0]


def session_purposes(run_id: str) -> tuple[str, str]:
    """Return the purposes of the two sessions of a run: one loads days, one holds a source slot."""
    # PostgreSQL truncates application_name to 63 bytes.
    return f"{_RUN_PREFIX}{run_id[:36]}", f"slot run {run_id[:36]}"


def lock_day(connection: "Connection", dataset: Dataset, day: date) -> None:
    """Begin a transaction with the dataset's timeouts, and acquire the day's lock.

    If another session holds the lock, wait up to the target's `lock_timeout_seconds`, or fail
    immediately if `on_lock_conflict` is `fail`. On failure, roll back and raise DayLockedError,
    which names the holder.
    """
    key = {"key": f"sync_pipeline day: {dataset.name}", "number": day.toordinal()}
    wait = dataset.target.on_lock_conflict == "wait"
    with connection.cursor() as cursor:
        try:
            cursor.execute(_BEGIN + (_LOCK_DAY if wait else _TRY_DAY), _limits(dataset) | key)
            if cursor.fetchone() != (False,):
                return
        except errors.LockNotAvailable:
            pass
        connection.rollback()
        cursor.execute(_HOLDER, key)
        holder = cursor.fetchone()
        connection.rollback()
    raise DayLockedError(_describe_holder(dataset, day, holder))


def lock_table(cursor: "Cursor", table: str) -> None:
    """Acquire the lock for creating or altering a table, until the transaction ends."""
    cursor.execute(_LOCK_TABLE, {"key": f"sync_pipeline table: {table}"})


def begin(cursor: "Cursor", dataset: Dataset) -> None:
    """Begin a transaction with the dataset's timeouts."""
    cursor.execute(_BEGIN, _limits(dataset))


@contextmanager
def allow_long_idle(cursor: "Cursor", dataset: Dataset) -> Iterator[None]:
    """Raise the idle timeout to the statement timeout while the block waits for the source."""
    limit = "SET LOCAL idle_in_transaction_session_timeout = %s"
    cursor.execute(limit, [_limits(dataset)["statement_timeout"]])
    yield
    cursor.execute(limit, [IDLE_SECONDS * 1000])


def _limits(dataset: Dataset) -> dict[str, object]:
    # In milliseconds; 0 would disable the timeout.
    return {
        "lock_timeout": max(1, round(dataset.target.lock_timeout_seconds * 1000)),
        "statement_timeout": max(1, round(dataset.target.statement_timeout_seconds * 1000)),
    }


def _describe_holder(
    dataset: Dataset, day: date, holder: tuple[int | None, str | None] | None
) -> str:
    pid, name = holder or (None, None)
    run = _RUN.fullmatch(name or "")
    if run is not None:
        who = f"Dagster run {run[1]} (session pid {pid})"
    elif holder is not None:
        who = f"the session {name or 'without a name'!r} (pid {pid})"
    else:
        who = "a session that has just ended"
    waited = f"waited {dataset.target.lock_timeout_seconds:g} s"
    if dataset.target.on_lock_conflict == "fail":
        waited = "did not wait (on_lock_conflict: fail)"
    return (
        f"dataset {dataset.name}: {day} is being loaded by {who}; {waited}. Retry when it is "
        "done, or terminate its session with SELECT pg_terminate_backend(pid)"
    )
