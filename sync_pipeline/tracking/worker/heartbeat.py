"""The heartbeat: a thread that reports every few seconds that its worker is alive.

It has a separate connection and runs regardless of what the process is doing, such as loading a day
for an hour or waiting for another worker's lock. It stops when the process is stopped or killed.
While the tracking tables are unavailable, it retries at each heartbeat. A worker that was presumed
dead does not register again, because its run was terminated. Does not detect lost workers: see
`orchestration/recovery/reconciler.py`.
"""

import logging
import threading
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.errors import TrackingError, one_line
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import connect_tracking
from sync_pipeline.tracking.worker import workers

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_STATEMENT_SECONDS = 5.0
_logger = logging.getLogger(__name__)


class Heartbeat(threading.Thread):
    """A context manager that registers this process as a worker and deregisters it at the end."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        super().__init__(name=f"heartbeat {run_id}", daemon=True)
        self._settings = settings
        self._every = settings.lost_after_seconds / 3
        self.worker = workers.this_process(run_id)
        self.registered = False
        self._stop_requested = threading.Event()
        self._connection: Connection | None = None

    def __enter__(self) -> "Heartbeat":
        self._beat()  # before any work, so that every started day has a registered worker
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_requested.set()
        self.join()
        self._deregister()

    def run(self) -> None:
        while not self._stop_requested.wait(self._every):
            self._beat()

    def _beat(self) -> None:
        try:
            connection = self._open_connection()
            with connection.cursor() as cursor:
                if not self.registered:
                    workers.register(cursor, self.worker)
                    self.registered = True
                workers.beat(cursor, self.worker)
        except Exception as error:  # whatever the error, the next heartbeat may succeed
            _logger.debug("heartbeat failed: %s", one_line(error))
            self._close()

    def _deregister(self) -> None:
        try:
            with self._open_connection().cursor() as cursor:
                workers.deregister(cursor, self.worker)
        except (psycopg2.Error, TrackingError) as error:
            _logger.debug("could not deregister the worker: %s", one_line(error))
        self._close()

    def _open_connection(self) -> "Connection":
        if self._connection is None:
            self._connection = connect_tracking(
                self._settings,
                "heartbeat",
                connect_timeout_seconds=5,
                statement_timeout_seconds=_STATEMENT_SECONDS,
                autocommit=True,
            )
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
