"""A pool of read-only connections, shared by the threads of a server.

Each connection is used by one thread at a time, in autocommit mode. A connection that broke while
idle is replaced without an error. Does not open write connections: see `api/write_connection.py`.
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


class ReadOnlyPool:
    """Up to `size` connections to the tracking tables.

    `url` is the value of the setting with the name `setting`.
    """

    def __init__(
        self, url: str, setting: str, *, size: int, statement_seconds: float, purpose: str
    ) -> None:
        self._url = url
        self._setting = setting
        self._statement_seconds = statement_seconds
        self._purpose = purpose
        self._slots = threading.BoundedSemaphore(size)
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()

    def run(self, work: Callable[["Cursor"], _T]) -> _T:
        """Run `work` and return its result. `work` may be called more than once.

        Raises BusyError if no connection becomes free within 5 seconds, or TrackingError if the
        tables cannot be read.
        """
        if not self._slots.acquire(timeout=_WAIT_SECONDS):
            raise BusyError("too many concurrent requests; try again in a moment")
        try:
            with suppress(queue.Empty):
                while True:
                    connection = self._idle.get_nowait()
                    try:
                        return self._run(work, connection)
                    except TrackingError:
                        # A connection that broke while idle does not mean that the server is down.
                        if not connection.closed:
                            raise
            return self._run(work, self._connect())
        finally:
            self._slots.release()

    def _run(self, work: Callable[["Cursor"], _T], connection: "Connection") -> _T:
        try:
            with connection.cursor() as cursor:
                return work(cursor)
        except psycopg2.Error as error:
            raise TrackingError(
                f"cannot read the tracking tables in the {self._setting} database: "
                f"{one_line(error, *secrets_of(self._url))} "
                "(try again; see GET /readyz)"
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
        """Close the idle connections."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
