"""A connection to the tracking tables that reconnects after an outage.

The tables may be in the target database or on another server, and either may fail. An outage is
logged once. While it lasts, timeouts are short and the backoff grows, so that the sync continues at
full speed. Does not keep the writes that fail: see `pending_writes.py`.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError

from sync_pipeline.errors import TargetUnreachableError, TrackingError, one_line
from sync_pipeline.retry import is_transient
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import connect_tracking
from sync_pipeline.tracking.worker.same_database import target_has_tables

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

LOCK_TIMEOUT_SECONDS = 30.0
"""How long a sync waits for a lock on the tracking tables before it continues without them."""

_OUTAGE_TIMEOUT_SECONDS = 2  # for connecting, and for each statement, during an outage
_INITIAL_BACKOFF_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 15.0
_SILENCE_SECONDS = 10  # the connection is closed if sent data is not acknowledged for this long
_MAX_DEADLOCKS = 3
_T = TypeVar("_T")


class TrackingUnavailableError(TrackingError):
    """The tracking tables cannot be written to at the moment; the log says why."""


class RecordRejectedError(TrackingError):
    """The tracking tables are available but rejected this record; the log says why."""


class TrackingConnection:
    """A connection that is opened on first use and reopened after a failure."""

    def __init__(self, settings: Settings, logger: logging.Logger) -> None:
        # None until the databases have been compared.
        self._in_target = True if settings.tracking_url == settings.database_url else None
        self._settings = settings
        self._logger = logger
        self._connection: Connection | None = None
        self._unavailable = False
        self._backoff = 0.0
        self._next_attempt = 0.0  # by time.monotonic()

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

    def do(self, work: Callable[["Cursor"], _T], *, durable: bool = False) -> _T:
        """Run `work` in a transaction and return its result.

        Does not wait until the commit is on disk unless `durable` is true. Raises
        RecordRejectedError if the database rejects the record, or TrackingUnavailableError if the
        tables are unavailable (immediately during the backoff). In both cases, nothing was written
        unless the connection was lost during the commit.
        """
        if self._unavailable and time.monotonic() < self._next_attempt:
            raise TrackingUnavailableError("the tracking tables are unavailable")
        try:
            result = self._in_transaction(work, durable)
        except (psycopg2.IntegrityError, psycopg2.DataError) as error:
            self._logger.error("record rejected; the sync continues: %s", one_line(error))
            raise RecordRejectedError(one_line(error)) from error
        except (psycopg2.Error, TrackingError) as error:
            self._mark_unavailable(error)
            raise TrackingUnavailableError(one_line(error)) from error
        if self._unavailable:
            self._mark_available()
        return result

    def reset_backoff(self) -> None:
        """Allow the next connection attempt immediately."""
        self._next_attempt = 0.0

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _in_transaction(self, work: Callable[["Cursor"], _T], durable: bool) -> _T:
        fresh = self._connection is None
        try:
            for _ in range(_MAX_DEADLOCKS):
                try:
                    return self._run_once(work, durable)
                except TransactionRollbackError:
                    continue  # the database rolled this transaction back to resolve a deadlock
            return self._run_once(work, durable)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # A connection that broke while idle does not mean that the server is down.
            if fresh or self._connection is None or not self._connection.closed:
                raise
            self._connection = None
            return self._run_once(work, durable)

    def _run_once(self, work: Callable[["Cursor"], _T], durable: bool) -> _T:
        if self._connection is None:
            self._connection = self._connect()
        with self._connection, self._connection.cursor() as cursor:
            if durable:
                cursor.execute("SET LOCAL synchronous_commit = on")
            return work(cursor)

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
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        return connection

    def _mark_unavailable(self, error: Exception) -> None:
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
        try:
            self.close()
        except psycopg2.Error:
            self._connection = None

    def _mark_available(self) -> None:
        self._logger.info("the tracking tables are available again")
        self._unavailable, self._backoff = False, 0.0
        self.close()  # the connection still has the short timeouts for outages
