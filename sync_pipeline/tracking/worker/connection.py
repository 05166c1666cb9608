"""A worker's connection to the tracking tables, and the writes that wait for it after an outage.

The tables may be in the target database or on another server, and either may fail. An outage is
logged once. While it lasts, timeouts are short and the backoff grows, so that the sync continues at
full speed; what could not be written is kept in memory and written in order when the tables are
available again. Does not define the writes: see `tracker.py`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import TransactionRollbackError

from sync_pipeline.database.migrate import VERSION_TABLE
from sync_pipeline.errors import (
    RecordRejectedError,
    TargetUnreachableError,
    TrackingError,
    WorkerOutdatedError,
    one_line,
)
from sync_pipeline.retry import is_transient
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import connect_tracking
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.state import batches
from sync_pipeline.tracking.worker.same_database import target_has_tables

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

LOCK_TIMEOUT_SECONDS = 30.0
"""How long a sync waits for a lock on the tracking tables before it continues without them."""

REJECTIONS = (psycopg2.IntegrityError, psycopg2.DataError, errors.RaiseException)
"""Errors of a constraint or trigger, which would be raised again."""

FLUSH_TIMEOUT_SECONDS = 5.0
"""At the end of a run, how long to wait for the tracking tables to become available again. Writes
that are still pending are then logged and dropped."""

_OUTAGE_TIMEOUT_SECONDS = 2  # for connecting, and for each statement, during an outage
_INITIAL_BACKOFF_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 15.0
_SILENCE_SECONDS = 10  # the connection is closed if sent data is not acknowledged for this long
_MAX_CONFLICTS = 3
_FLUSH_INTERVAL_SECONDS = 0.2
_MAX_LOGGED_WRITES = 10
_T = TypeVar("_T")


class TrackingUnavailableError(TrackingError):
    """The tracking tables cannot be written to at the moment; the log says why."""


@dataclass(frozen=True)
class Write:
    """A change to the records, made now or after an outage; `what` describes it in the log.

    `apply` is called with a cursor, the ID of the batch (if any) and the seconds since `at`
    (`time.monotonic()`). It returns False if the change has to wait for another run. It may be
    called twice if the connection breaks after a commit but before its response; the second call
    has no effect.
    """

    what: str
    apply: Callable[["Cursor", int | None, float], object]
    batch: BatchSpec | None = None
    at: float = field(default_factory=time.monotonic)


class TrackingConnection:
    """A connection that is opened on first use and reopened after a failure, with the writes that
    wait for it.

    `requested_at` maps each batch to the time (`time.monotonic()`) when it was first requested. All
    connections of a run share it, so that the batch record gets this start time regardless of when,
    and through which connection, it is opened.
    """

    def __init__(self, settings: Settings, logger: logging.Logger, run_id: str | None) -> None:
        # None until the databases have been compared.
        self._in_target = True if settings.tracking_url == settings.database_url else None
        self._settings = settings
        self._logger = logger
        self._run_id = run_id
        self._connection: Connection | None = None
        self._unavailable = False
        self._backoff = 0.0
        self._next_attempt = 0.0  # by time.monotonic()
        self._pending: deque[Write] = deque()
        self._rejected: list[Write] = []
        self._rejections: dict[tuple[str, str], RecordRejectedError] = {}  # by batch
        self._batch_ids: dict[tuple[str, str], int] = {}
        self.requested_at: dict[tuple[str, str], float] = {}

    @property
    def in_target(self) -> bool:
        """Whether a day can be recorded in the transaction that loads it.

        False until the databases could be compared, for which both must be available.
        """
        if self._in_target is None and self._connection is not None:
            try:
                self._in_target = target_has_tables(self._connection, self._settings)
            except (TargetUnreachableError, psycopg2.Error) as error:
                self._logger.info("cannot compare the databases: %s", one_line(error))
        return bool(self._in_target)

    @property
    def has_pending(self) -> bool:
        """Whether writes are waiting for the tables, or were rejected by them."""
        return bool(self._pending or self._rejected)

    def write(self, write: Write) -> None:
        """Make a change now, or keep it until the tables are available."""
        if write.batch is not None:
            # Set before the write, because the tables may be unavailable for a while.
            self.requested_at.setdefault(_key(write.batch), write.at)
        self._pending.append(write)
        self.try_do(lambda _: None)

    def batch_id(self, spec: BatchSpec) -> int | None:
        """Open or join a batch; return its ID, or None if the tables are unavailable.

        Raises RecordRejectedError.
        """
        if _key(spec) not in self._batch_ids:
            self._rejections.pop(_key(spec), None)
            if any(write.batch and _key(write.batch) == _key(spec) for write in self._pending):
                self.try_do(lambda _: None)  # the first of these writes opens it
            else:
                self.write(Write(f"batch {spec.batch_key} requested", lambda *_: None, spec))
            if _key(spec) in self._rejections:
                raise self._rejections[_key(spec)]
        return self._batch_ids.get(_key(spec))

    def try_do(self, work: Callable[["Cursor"], _T]) -> _T | None:
        """Make the pending changes, then run `work`; return its result, or None if the tables are
        unavailable.

        Each statement of `work` is a transaction whose commit is not awaited. Raises
        RecordRejectedError if the tables reject what `work` writes.
        """
        try:
            self._flush()
            return self._do(work, durable=False)
        except TrackingUnavailableError:
            self._batch_ids.clear()  # the database may come back in an earlier state
        return None

    def close(self) -> None:
        """Make the pending changes within a few seconds, or log them; then close the connection.
        Using it again opens a new one."""
        try:
            self._final_flush()
            self._log_pending()
        finally:
            self._disconnect()

    def transfer_pending_to(self, other: "TrackingConnection") -> None:
        """Move the pending changes to another connection of the same run; close this one."""
        other._pending.extend(self._pending)
        other._rejected.extend(self._rejected)
        self._pending.clear()
        self._rejected.clear()
        self._disconnect()

    def _flush(self) -> None:
        """Make the pending changes in order, except those that wait for another run to finish.

        Raises TrackingUnavailableError if the tables are unavailable.
        """
        waiting: list[Write] = []
        try:
            while self._pending:
                # Stays pending until it is done, in case a signal interrupts it.
                if not self._apply(self._pending[0]):
                    waiting.append(self._pending[0])
                self._pending.popleft()
        finally:
            self._pending.extendleft(reversed(waiting))

    def _apply(self, write: Write) -> bool:
        """Make a change in a transaction; return False if it has to wait."""
        try:
            batch_id = None if write.batch is None else self._open(write.batch)
            done = self._do(
                # The seconds are computed once connected, because connecting may take a while.
                lambda cursor: write.apply(cursor, batch_id, time.monotonic() - write.at),
                durable=True,
            )
            return done is not False
        except RecordRejectedError as error:
            # The reconciler repeats it, if the outcome is in the outbox.
            self._logger.error("%s: %s", write.what, one_line(error))
            self._rejected.append(write)
            return True

    def _open(self, spec: BatchSpec) -> int:
        if _key(spec) not in self._batch_ids:
            requested_at = self.requested_at[_key(spec)]
            try:
                self._batch_ids[_key(spec)] = self._do(
                    lambda cursor: batches.open_batch(
                        cursor, spec, ago=time.monotonic() - requested_at
                    ),
                    durable=True,
                )
            except RecordRejectedError as error:
                self._rejections[_key(spec)] = error
                raise
        return self._batch_ids[_key(spec)]

    def _do(self, work: Callable[["Cursor"], _T], *, durable: bool) -> _T:
        """Run `work` and return its result; if `durable`, in a transaction whose commit is awaited.

        Raises RecordRejectedError if the database rejects the record, or TrackingUnavailableError
        if the tables are unavailable (immediately during the backoff). In both cases, nothing was
        written unless the connection was lost during the commit. Raises WorkerOutdatedError if the
        tables do not fit this version of the code.
        """
        if self._unavailable and time.monotonic() < self._next_attempt:
            raise TrackingUnavailableError("the tracking tables are unavailable")
        conflicts = 0
        while True:
            fresh = self._connection is None
            try:
                connection = self._connection = self._connection or self._connect()
                with ExitStack() as opened:
                    if durable:
                        opened.enter_context(connection)
                    cursor = opened.enter_context(connection.cursor())
                    if durable:
                        cursor.execute("SET LOCAL synchronous_commit = on")
                    result = work(cursor)
                break
            except (errors.UndefinedFunction, errors.UndefinedColumn) as error:
                if not self._has_tables():
                    raise self._mark_unavailable(error) from error
                raise WorkerOutdatedError(
                    f"run {self._run_id}: the tracking tables do not fit this version of Sync "
                    f"Pipeline: {one_line(error)}. Run sync-pipeline migrate; if the tables were "
                    "upgraded while this worker was running, restart Dagster. Then retry the batch"
                ) from None
            except (TransactionRollbackError, errors.UniqueViolation) as error:
                # A deadlock, or another session has just written the same row.
                conflicts += 1
                if conflicts > _MAX_CONFLICTS:
                    if isinstance(error, errors.UniqueViolation):
                        raise rejected_error(error) from error
                    raise self._mark_unavailable(error) from error
            except errors.ForeignKeyViolation as error:
                # The batch's record was deleted; it is opened again with the next write.
                raise self._mark_unavailable(error) from error
            except REJECTIONS as error:
                raise rejected_error(error) from error
            except (psycopg2.Error, TrackingError) as error:
                # A connection that broke while idle does not mean that the server is down.
                if fresh or self._connection is None or not self._connection.closed:
                    raise self._mark_unavailable(error) from error
                self._connection = None
        if self._unavailable:
            self._mark_available()
        return result

    def _has_tables(self) -> bool:
        """Return whether the database has the tracking tables, in whatever version. It may be empty
        for a while, for example when it is being restored."""
        try:
            assert self._connection is not None  # noqa: S101  a statement has just failed
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [VERSION_TABLE])
                return cursor.fetchone() == (True,)
        except psycopg2.Error:
            return False

    def _connect(self) -> "Connection":
        outage = self._unavailable
        connection = connect_tracking(
            self._settings,
            "tracking",
            connect_timeout_seconds=_OUTAGE_TIMEOUT_SECONDS if outage else 10,
            statement_timeout_seconds=_OUTAGE_TIMEOUT_SECONDS if outage else LOCK_TIMEOUT_SECONDS,
            silence_seconds=_SILENCE_SECONDS,
            # A worker idle for this long is presumed dead. Its open transaction must not block
            # the reconciler from recording that.
            idle_seconds=self._settings.lost_after_seconds,
            autocommit=True,
        )
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _mark_unavailable(self, error: Exception) -> TrackingUnavailableError:
        if not self._unavailable:
            self._logger.error(
                "tracking failed; the sync continues without it: %s", one_line(error)
            )
        self._unavailable = True
        self._backoff = min(_MAX_BACKOFF_SECONDS, self._backoff * 2 or _INITIAL_BACKOFF_SECONDS)
        # If the tables are in the target database, no backoff is needed after a lost connection:
        # the sync waits for the target anyway.
        wait = 0.0 if self._in_target and is_transient(error) else self._backoff
        self._next_attempt = time.monotonic() + wait
        self._disconnect()
        return TrackingUnavailableError(one_line(error))

    def _mark_available(self) -> None:
        self._logger.info("the tracking tables are available again")
        self._unavailable, self._backoff = False, 0.0
        self._disconnect()  # the connection still has the short timeouts for outages

    def _final_flush(self) -> None:
        deadline = time.monotonic() + FLUSH_TIMEOUT_SECONDS
        while self._pending:
            self._next_attempt = 0.0
            try:
                self._flush()
                return
            except TrackingUnavailableError:
                if time.monotonic() >= deadline:
                    return
                time.sleep(_FLUSH_INTERVAL_SECONDS)
            except WorkerOutdatedError:
                return

    def _log_pending(self) -> None:
        unrecorded = [*self._rejected, *self._pending]
        if unrecorded:
            named = [write.what for write in unrecorded[:_MAX_LOGGED_WRITES]]
            more = ["…"] if len(unrecorded) > _MAX_LOGGED_WRITES else []
            self._logger.error(
                "run %s ended with %d events not recorded: %s",
                self._run_id,
                len(unrecorded),
                "; ".join(named + more),
            )
            self._pending.clear()
            self._rejected.clear()


def _key(batch: BatchSpec) -> tuple[str, str]:
    return batch.batch_key, batch.dataset


def rejected_error(error: psycopg2.Error) -> RecordRejectedError:
    """Return the error for a record that a constraint or trigger of the tables rejects."""
    return RecordRejectedError(
        f"the tracking tables reject the record: {one_line(error)}. Remove the cause, which was "
        "probably added to these tables, and sync again"
    )
