"""One connection that listens for changes of records, for all streams of this process.

PostgreSQL tells which records changed; they are read once, written once as text, and handed on.
Changes in quick succession are gathered, so that a fast batch costs some chunks a second. When the
connection was lost, what changed meanwhile is handed on first.
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
_GATHER_SECONDS = 0.25
_IDLE_SECONDS = 15.0  # after which the connection is tried, so that a dead one is noticed
_SILENCE_SECONDS = 10
_PAUSE_SECONDS = 1.0
_logger = logging.getLogger(__name__)


def chunk_of(records: Sequence[Record], links: Links) -> bytes:
    """Return events that tell of `records`."""
    return b"".join(
        f"event: record\nid: {record.change}\n"
        f"data: {RecordOut.of(record, links).model_dump_json()}\n\n".encode()
        for record in records
    )


class Listener:
    """Calls `on_chunk` with events, or with None when too much was missed, and `on_state` with
    whether it hears of changes; from its own thread."""

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
        self._seen: int | None = None
        self._ended = False
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let it end, and wait until it has."""
        self._ended = True
        os.write(self._waker, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _run(self) -> None:
        while not self._ended:
            try:
                self._listen()
            except (psycopg2.Error, TrackingError) as error:
                secrets = secrets_of(self._config.tracking_url)
                _logger.warning("changes are not heard of: %s", one_line(error, *secrets))
            except Exception:  # a bug of ours; without this thread no stream would hear anything
                _logger.exception("changes are not heard of")
            if not self._ended:
                self._on_state(False)
                self._wait_for(None, _PAUSE_SECONDS)

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
            while not self._ended:
                if not self._wait_for(connection, _IDLE_SECONDS):
                    cursor.execute("SELECT")
                ids = self._heard(connection)
                if ids:
                    self._hand_on(history.records(cursor, ids))
                    self._wait_for(None, _GATHER_SECONDS)

    def _heard(self, connection: "Connection") -> list[int]:
        """Return the ids of records that changed since it was called last."""
        connection.poll()
        ids = {int(one.payload) for one in connection.notifies if one.payload.isdigit()}
        connection.notifies.clear()
        return sorted(ids)

    def _catch_up(self, connection: "Connection") -> None:
        """Hand on what changed while nobody listened."""
        with connection.cursor() as cursor:
            latest = history.latest_change(cursor)
            # Streams may have begun before anybody listened; a database may be an older one now.
            if self._seen is None or latest < self._seen:
                self._seen = latest
                self._on_chunk(None)
                return
            found = history.changed_after(cursor, self._seen, MAX_REPLAYED + 1)
        if len(found) > MAX_REPLAYED:
            self._seen = max(record.change for record in found)
            self._on_chunk(None)
        elif found:
            self._hand_on(found)

    def _hand_on(self, records: Sequence[Record]) -> None:
        if records:
            self._seen = max(self._seen or 0, *(record.change for record in records))
            self._on_chunk(chunk_of(records, self._links))

    def _wait_for(self, connection: "Connection | None", seconds: float) -> bool:
        """Wait until the connection has something, or it is to end; return whether one is so."""
        if connection is not None and connection.notifies:
            return True
        # Not select(), which knows no file beyond the 1,024th.
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            if connection is not None:
                selector.register(connection, selectors.EVENT_READ)
            return bool(selector.select(seconds))
