"""Time limits and locks of a transaction at the target: who may load a day, and for how long.

The locks are PostgreSQL's advisory locks, held by the transaction: they go when it ends, however
it ends. `pg_locks` shows them: the dataset's hash as `classid`, the day's number as `objid`.
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
"""How long a day's transaction may do nothing: longer than a worker waits for the records in it."""

# Read committed, whatever the server's default: what is deleted must be what stands there after
# the lock was waited for, not before.
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
_OF_RUN = "sync run "
_RUN = re.compile(rf".*: {_OF_RUN}(\S+)")


def purpose_of(dataset: Dataset, run_id: str | None) -> str:
    """Return what a session that loads days is for, by which others know the run that it is of."""
    return f"sync {dataset.name}" if run_id is None else sessions_of(run_id)[0]


def sessions_of(run_id: str) -> tuple[str, str]:
    """Return what the sessions of a run's worker are for: one loads its days, one has its slot."""
    # PostgreSQL keeps 63 bytes of a session's name.
    return f"{_OF_RUN}{run_id[:36]}", f"slot run {run_id[:36]}"


def lock_day(connection: "Connection", dataset: Dataset, day: date) -> None:
    """Begin a transaction with the dataset's time limits that holds the lock of (dataset, day).

    If another session holds it, waits at most `lock_timeout_seconds` of the target, or not at all,
    as its `on_lock_conflict` says; then rolls back and raises DayLockedError, which names the
    holder.
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
    raise DayLockedError(_held(dataset, day, holder))


def lock_table(cursor: "Cursor", table: str) -> None:
    """Wait for whoever is just making this table; hold the others off."""
    cursor.execute(_LOCK_TABLE, {"key": f"sync_pipeline table: {table}"})


def begin(cursor: "Cursor", dataset: Dataset) -> None:
    """Begin a transaction with the dataset's time limits."""
    cursor.execute(_BEGIN, _limits(dataset))


@contextmanager
def waiting_long(cursor: "Cursor", dataset: Dataset) -> Iterator[None]:
    """Let the transaction do nothing for as long as a statement of it may take, in the block, which
    waits for the source."""
    limit = "SET LOCAL idle_in_transaction_session_timeout = %s"
    cursor.execute(limit, [_limits(dataset)["statement_timeout"]])
    yield
    cursor.execute(limit, [IDLE_SECONDS * 1000])


def _limits(dataset: Dataset) -> dict[str, object]:
    # Milliseconds; 0 would mean no limit.
    return {
        "lock_timeout": max(1, round(dataset.target.lock_timeout_seconds * 1000)),
        "statement_timeout": max(1, round(dataset.target.statement_timeout_seconds * 1000)),
    }


def _held(dataset: Dataset, day: date, holder: tuple[int | None, str | None] | None) -> str:
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
        waited = "not waited for, as on_lock_conflict says"
    return (
        f"dataset {dataset.name}: {day} is being loaded by {who}; {waited}. Try again when it is "
        "done, or end it with SELECT pg_terminate_backend(pid)"
    )
