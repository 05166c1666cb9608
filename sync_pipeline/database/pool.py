"""A few connections that may only read, shared by the threads of a server.

Each is lent to one thread at a time and commits each statement by itself. One that broke while it
lay idle is replaced unseen.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import BusyError, TrackingError, one_line
from sync_pipeline.settings import secrets_of

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_CONNECT_SECONDS = 3
_WAIT_SECONDS = 5.0
_T = TypeVar("_T")


class ReadingPool:
    """At most `size` connections to the tracking tables at `url`, which `setting` names."""

    def __init__(
        self, url: str, setting: str, *, size: int, statement_seconds: float, purpose: str
    ) -> None:
        self._url = url
        self._setting = setting
        self._statement_seconds = statement_seconds
        self._purpose = purpose
        self._turns = threading.BoundedSemaphore(size)
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()

    def run(self, work: Callable[["Cursor"], _T]) -> _T:
        """Return what `work` returns; it may be called twice. Raises TrackingError, which is
        BusyError if no connection was free in time."""
        if not self._turns.acquire(timeout=_WAIT_SECONDS):
            raise BusyError("too much is asked for at once; try again in a moment")
        try:
            with suppress(queue.Empty):
                while True:
                    connection = self._idle.get_nowait()
                    try:
                        return self._run(work, connection)
                    except TrackingError:
                        # One that lay idle and broke says nothing about the server now.
                        if not connection.closed:
                            raise
            return self._run(work, self._connect())
        finally:
            self._turns.release()

    def _run(self, work: Callable[["Cursor"], _T], connection: "Connection") -> _T:
        try:
            with connection.cursor() as cursor:
                return work(cursor)
        except psycopg2.Error as error:
            raise TrackingError(
                f"the tracking tables in the database of {self._setting} cannot be read: "
                f"{one_line(error, *secrets_of(self._url))} (try again; see: sync-pipeline doctor)"
            ) from error
        finally:
            if not connection.closed:
                self._idle.put(connection)

    def _connect(self) -> "Connection":
        return connect(
            self._url,
            setting=self._setting,
            purpose=self._purpose,
            error=TrackingError,
            connect_timeout_seconds=_CONNECT_SECONDS,
            statement_timeout_seconds=self._statement_seconds,
            read_only=True,
            autocommit=True,
        )

    def close(self) -> None:
        """Close the connections that are not lent."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
