"""Time limits and locks of a transaction at the target: who may load a day, and for how long.

The locks are PostgreSQL's advisory locks, held by the transaction: they go when it ends, however
it ends. `pg_locks` shows them: the dataset's hash as `classid`, the day's number as `objid`.
"""

from datetime import date
from typing import TYPE_CHECKING

from psycopg2 import errors

from sync_pipeline.dataset import Dataset
from sync_pipeline.errors import DayLockedError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# Read committed, whatever the server's default: what is deleted must be what stands there after
# the lock was waited for, not before.
_BEGIN = """
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = %(lock_timeout)s;
SET LOCAL statement_timeout = %(statement_timeout)s;
"""
_LOCK_DAY = "SELECT pg_advisory_xact_lock(hashtext(%(key)s), %(number)s)"
_LOCK_TABLE = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"
_HOLDER = """
SELECT l.pid, a.application_name
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.classid::bigint = hashtext(%(key)s) & 4294967295 AND l.objid::bigint = %(number)s
"""


def lock_day(connection: "Connection", dataset: Dataset, day: date) -> None:
    """Begin a transaction with the dataset's time limits that holds the lock of (dataset, day).

    Waits at most `lock_timeout_seconds` of the target; then rolls back and raises DayLockedError,
    which names who holds the day.
    """
    key = {"key": f"sync_pipeline day: {dataset.name}", "number": day.toordinal()}
    with connection.cursor() as cursor:
        try:
            cursor.execute(_BEGIN + _LOCK_DAY, _limits(dataset) | key)
        except errors.LockNotAvailable as error:
            connection.rollback()
            cursor.execute(_HOLDER, key)
            holder = cursor.fetchone()
            connection.rollback()
            raise DayLockedError(_held(dataset, day, holder)) from error


def lock_table(cursor: "Cursor", dataset: Dataset) -> None:
    """Wait for whoever is just making the dataset's target table; hold the others off."""
    cursor.execute(_LOCK_TABLE, {"key": f"sync_pipeline table: {dataset.target.table}"})


def begin(cursor: "Cursor", dataset: Dataset) -> None:
    """Begin a transaction with the dataset's time limits."""
    cursor.execute(_BEGIN, _limits(dataset))


def _limits(dataset: Dataset) -> dict[str, object]:
    # Milliseconds; 0 would mean no limit.
    return {
        "lock_timeout": max(1, round(dataset.target.lock_timeout_seconds * 1000)),
        "statement_timeout": max(1, round(dataset.target.statement_timeout_seconds * 1000)),
    }


def _held(dataset: Dataset, day: date, holder: tuple[int | None, str | None] | None) -> str:
    if holder is None:
        who = "a session that has just ended"
    else:
        who = f"the session {holder[1] or 'without a name'!r} (pid {holder[0]})"
    return (
        f"dataset {dataset.name}: {day} is being loaded by {who}; waited "
        f"{dataset.target.lock_timeout_seconds:g} s. Try again when it is done, or end it with "
        "SELECT pg_terminate_backend(pid)"
    )
