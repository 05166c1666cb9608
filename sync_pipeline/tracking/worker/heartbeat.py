"""The heartbeat: a thread that says every few seconds, on a connection of its own, "still here".

It says so as long as its process runs, whatever the process is doing: a day that takes an hour, or
a wait for another worker's lock. A process that is stopped or killed falls silent. While the
tracking tables cannot be reached it tries again at each beat. One that was taken for lost does not
sign on again: its run was ended.
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
    """Signs this process on for a run, and off at the end. Use as a context manager."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        super().__init__(name=f"heartbeat {run_id}", daemon=True)
        self._settings = settings
        self._every = settings.lost_after_seconds / 3
        self.worker = workers.this_process(run_id)
        self.registered = False
        self._over = threading.Event()
        self._connection: Connection | None = None

    def __enter__(self) -> "Heartbeat":
        self._beat()  # before any work, so that no work is ever without its worker
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._sign_off()

    def run(self) -> None:
        while not self._over.wait(self._every):
            self._beat()

    def _beat(self) -> None:
        try:
            connection = self._connected()
            with connection.cursor() as cursor:
                if not self.registered:
                    workers.register(cursor, self.worker)
                    self.registered = True
                workers.beat(cursor, self.worker)
        except Exception as error:  # whatever it is, the next sign may get through
            _logger.debug("no sign of life could be given: %s", one_line(error))
            self._close()

    def _sign_off(self) -> None:
        try:
            with self._connected().cursor() as cursor:
                workers.deregister(cursor, self.worker)
        except (psycopg2.Error, TrackingError) as error:
            _logger.debug("not signed off: %s", one_line(error))
        self._close()

    def _connected(self) -> "Connection":
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
