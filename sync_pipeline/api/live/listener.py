"""Listens for record changes on one database connection, for all streams of this process.

Each changed record is read and serialized once. Changes in quick succession are combined, so that a
fast batch causes only a few chunks per second. After a reconnection, the missed changes are
published first. Does not keep track of streams: see `broker.py`.
"""

import logging
import os
import selectors
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.api.config import Config
from sync_pipeline.api.links import Links
from sync_pipeline.api.models import RecordOut
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TrackingError, one_line
from sync_pipeline.settings import secrets_of
from sync_pipeline.tracking.read import history
from sync_pipeline.tracking.read.history import Record

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

MAX_REPLAYED = 2000
_COMBINE_SECONDS = 0.25
_IDLE_SECONDS = 15.0  # after this much idle time, a query checks that the connection is alive
_SILENCE_SECONDS = 10
_RECONNECT_SECONDS = 1.0
_logger = logging.getLogger(__name__)


def chunk_of(records: Sequence[Record], links: Links) -> bytes:
    """Return `records` as server-sent events."""
    return b"".join(
        f"event: record\nid: {record.change}\n"
        f"data: {RecordOut.of(record, links).model_dump_json()}\n\n".encode()
        for record in records
    )


class Listener:
    """Receives changes in its own thread.

    Calls `on_chunk` with serialized events, or with None if too many were missed. Calls `on_state`
    with True when it starts receiving changes, and with False when it stops.
    """

    def __init__(
        self,
        config: Config,
        links: Links,
        on_chunk: Callable[[bytes | None], None],
        on_state: Callable[[bool], None],
    ) -> None:
        self._config = config
        self._links = links
        self._on_chunk = on_chunk
        self._on_state = on_state
        self._last_change: int | None = None
        self._stopped = False
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait until it has ended."""
        self._stopped = True
        os.write(self._waker, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._listen()
            except (psycopg2.Error, TrackingError) as error:
                secrets = secrets_of(self._config.tracking_url)
                _logger.warning("cannot receive changes: %s", one_line(error, *secrets))
            except Exception:  # a bug, but all streams depend on this thread, so keep it alive
                _logger.exception("cannot receive changes")
            if not self._stopped:
                self._on_state(False)
                self._wait_for(None, _RECONNECT_SECONDS)

    def _listen(self) -> None:
        connection = connect(
            self._config.tracking_url,
            setting=self._config.tracking_setting,
            purpose="api, events",
            error=TrackingError,
            silence_seconds=_SILENCE_SECONDS,
            autocommit=True,
        )
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("LISTEN daily_sync_status")
            self._catch_up(connection)
            self._on_state(True)
            while not self._stopped:
                if not self._wait_for(connection, _IDLE_SECONDS):
                    cursor.execute("SELECT")
                ids = self._changed_ids(connection)
                if ids:
                    self._publish(history.records(cursor, ids))
                    self._wait_for(None, _COMBINE_SECONDS)

    def _changed_ids(self, connection: "Connection") -> list[int]:
        """Return the IDs of the records that changed since the previous call."""
        connection.poll()
        ids = {int(one.payload) for one in connection.notifies if one.payload.isdigit()}
        connection.notifies.clear()
        return sorted(ids)

    def _catch_up(self, connection: "Connection") -> None:
        """Publish the changes that were missed while disconnected."""
        with connection.cursor() as cursor:
            latest = history.latest_change(cursor)
            # Streams may have opened before this thread first connected, or the database may have
            # been restored to an earlier state.
            if self._last_change is None or latest < self._last_change:
                self._last_change = latest
                self._on_chunk(None)
                return
            found = history.changed_after(cursor, self._last_change, MAX_REPLAYED + 1)
        if len(found) > MAX_REPLAYED:
            self._last_change = max(record.change for record in found)
            self._on_chunk(None)
        elif found:
            self._publish(found)

    def _publish(self, records: Sequence[Record]) -> None:
        if records:
            self._last_change = max(self._last_change or 0, *(record.change for record in records))
            self._on_chunk(chunk_of(records, self._links))

    def _wait_for(self, connection: "Connection | None", seconds: float) -> bool:
        """Wait for a notification or `stop`; return False if neither occurs within `seconds`."""
        if connection is not None and connection.notifies:
            return True
        # Not select.select(), which supports only file descriptors below 1,024.
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            if connection is not None:
                selector.register(connection, selectors.EVENT_READ)
            return bool(selector.select(seconds))
