"""A connection to the tracking tables that may be lost, and how often they are tried meanwhile.

The tables may live with the data or on another server, and either may go away. One outage is logged
once. While it lasts, a try is short and the pauses between tries grow, so that a sync goes on at
full speed.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError

from sync_pipeline.errors import TrackingError, one_line
from sync_pipeline.retry import is_transient
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import connect_tracking

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

LOCK_TIMEOUT_SECONDS = 30.0
"""How long a sync waits for tables that somebody has locked, before it goes on without them."""

_SHORT_SECONDS = 2  # the same, and to connect, while they are away
_INITIAL_BACKOFF_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 15.0
_SILENCE_SECONDS = 10  # after which a peer that acknowledges nothing is given up
_MAX_DEADLOCKS = 3
_T = TypeVar("_T")


class TrackingUnavailableError(TrackingError):
    """The tables cannot be written now; the log says why."""


class RecordRejectedError(TrackingError):
    """The tables are there, but refused this one record; the log says why."""


class TrackingConnection:
    """`in_target` says whether the tables live in the target database."""

    def __init__(self, settings: Settings, logger: logging.Logger) -> None:
        self.in_target = settings.tracking_url == settings.database_url
        self._settings = settings
        self._logger = logger
        self._connection: Connection | None = None
        self._away = False
        self._pause = 0.0
        self._next_try = 0.0  # by time.monotonic()

    def do(self, work: Callable[["Cursor"], _T], *, durable: bool = False) -> _T:
        """Return what `work` returns, done in a transaction of its own.

        Without `durable` it isn't awaited on disk. Raises TablesAwayError, at once while a pause
        lasts, or RecordRefusedError; either way nothing was written, or its answer was lost.
        """
        if self._away and time.monotonic() < self._next_try:
            raise TrackingUnavailableError("the tracking tables are away")
        try:
            result = self._in_transaction(work, durable)
        except (psycopg2.IntegrityError, psycopg2.DataError) as error:
            self._logger.error("a record was not written, the sync goes on: %s", one_line(error))
            raise RecordRejectedError(one_line(error)) from error
        except (psycopg2.Error, TrackingError) as error:
            self._went_away(error)
            raise TrackingUnavailableError(one_line(error)) from error
        if self._away:
            self._came_back()
        return result

    def try_again(self) -> None:
        """Let the next try be made at once."""
        self._next_try = 0.0

    def close(self) -> None:
        """Close the connection; another is opened when it is needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _in_transaction(self, work: Callable[["Cursor"], _T], durable: bool) -> _T:
        fresh = self._connection is None
        try:
            for _ in range(_MAX_DEADLOCKS):
                try:
                    return self._attempt(work, durable)
                except TransactionRollbackError:
                    continue  # broken at our cost; whoever we were in the way of comes through
            return self._attempt(work, durable)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # A connection that broke while it lay idle says nothing about the server now.
            if fresh or self._connection is None or not self._connection.closed:
                raise
            self._connection = None
            return self._attempt(work, durable)

    def _attempt(self, work: Callable[["Cursor"], _T], durable: bool) -> _T:
        if self._connection is None:
            self._connection = self._connect()
        with self._connection, self._connection.cursor() as cursor:
            if durable:
                cursor.execute("SET LOCAL synchronous_commit = on")
            return work(cursor)

    def _connect(self) -> "Connection":
        connection = connect_tracking(
            self._settings,
            "tracking",
            connect_timeout_seconds=_SHORT_SECONDS if self._away else 10,
            statement_timeout_seconds=_SHORT_SECONDS if self._away else LOCK_TIMEOUT_SECONDS,
            silence_seconds=_SILENCE_SECONDS,
            # Whoever is silent for so long is lost, and must not keep others from saying so.
            idle_seconds=self._settings.lost_after_seconds,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        return connection

    def _went_away(self, error: Exception) -> None:
        if not self._away:
            self._logger.error("tracking failed, the sync goes on without it: %s", one_line(error))
        self._away = True
        self._pause = min(_MAX_BACKOFF_SECONDS, self._pause * 2 or _INITIAL_BACKOFF_SECONDS)
        # With the target, a lost connection comes back when the target does: that is waited for.
        wait = 0.0 if self.in_target and is_transient(error) else self._pause
        self._next_try = time.monotonic() + wait
        try:
            self.close()
        except psycopg2.Error:
            self._connection = None

    def _came_back(self) -> None:
        self._logger.info("the tracking tables can be written again")
        self._away, self._pause = False, 0.0
        self.close()  # it was opened impatient
