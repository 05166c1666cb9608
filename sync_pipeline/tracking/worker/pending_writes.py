"""Writes a run's events in order, and keeps them while the tracking tables are unavailable.

Does not define the events: see `events.py`. Does not reconnect: see `connection.py`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import Batch, NewBatch
from sync_pipeline.tracking.state import batches
from sync_pipeline.tracking.worker.connection import (
    RecordRejectedError,
    TrackingConnection,
    TrackingUnavailableError,
)
from sync_pipeline.tracking.worker.events import Actor, BatchRequested, TrackingEvent

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

FLUSH_TIMEOUT_SECONDS = 5.0
"""At the end of a run, how long to wait for the tracking tables to become available again. Events
that are still pending are then logged and dropped."""

_RETRY_SECONDS = 0.2
_MAX_LOGGED_EVENTS = 10
_T = TypeVar("_T")


class PendingWrites:
    """Writes events on behalf of `actor`; opens or joins a batch before its first event.

    `requested_at` maps each batch to the time (`time.monotonic()`) when it was first requested. All
    instances for a run share it, so that the batch record gets this start time regardless of when,
    and by which instance, it is opened.
    """

    def __init__(self, settings: Settings, actor: Actor, logger: logging.Logger) -> None:
        self._actor = actor
        self._logger = logger
        self._connection = TrackingConnection(settings, logger)
        self.requested_at: dict[tuple[str, str], float] = {}
        self._batches: dict[tuple[str, str], Batch] = {}
        self._pending: deque[TrackingEvent] = deque()

    @property
    def in_target(self) -> bool:
        """Whether a day can be recorded in the transaction that loads it."""
        return self._connection.in_target

    @property
    def has_pending(self) -> bool:
        """Whether events are waiting to be written."""
        return bool(self._pending)

    def record(self, event: TrackingEvent) -> None:
        """Write `event` now, or keep it pending until the tables are available."""
        if event.batch is not None:
            # Set before the write, because the tables may be unavailable for a while.
            self.requested_at.setdefault(_key(event.batch), time.monotonic())
        self._pending.append(event)
        self._try_flush()

    def batch(self, new: NewBatch) -> Batch | None:
        """Open or join a batch; return it, or None if the tables are unavailable."""
        if _key(new) not in self._batches:
            if any(_is_about(event, new) for event in self._pending):
                self._try_flush()  # the first event of the batch opens it
            else:
                self.record(BatchRequested(new))
        return self._batches.get(_key(new))

    def try_do(self, work: Callable[["Cursor"], _T], *, durable: bool = False) -> _T | None:
        """Write the pending events, then run `work` in a transaction; return its result.

        Returns None if the tables are unavailable or reject what `work` writes.
        """
        try:
            self._flush()
            return self._connection.do(work, durable=durable)
        except TrackingUnavailableError:
            self._batches.clear()  # the database may come back in an earlier state
        except RecordRejectedError:
            pass
        return None

    def close(self) -> None:
        """Write the pending events within a few seconds, or log them; then close the connection."""
        try:
            self._final_flush()
            self._log_pending()
        finally:
            self._connection.close()

    def transfer_pending_to(self, other: "PendingWrites") -> None:
        """Move the pending events to another instance for the same run; close the connection."""
        other._pending.extend(self._pending)
        self._pending.clear()
        self._connection.close()

    def _try_flush(self) -> None:
        try:
            self._flush()
        except TrackingUnavailableError:
            self._batches.clear()

    def _flush(self) -> None:
        """Write the pending events in order, except those that wait for another run to finish.

        Raises TrackingUnavailableError if the tables are unavailable.
        """
        waiting: list[TrackingEvent] = []
        try:
            while self._pending:
                # Stays pending until it is written, in case a signal interrupts the write.
                if not self._write(self._pending[0]):
                    waiting.append(self._pending[0])
                self._pending.popleft()
        finally:
            self._pending.extendleft(reversed(waiting))

    def _write(self, event: TrackingEvent) -> bool:
        """Write `event` in its own transaction; return False if it has to wait."""
        new = event.batch
        next_batch = self._pending[1].batch if len(self._pending) > 1 else None
        last = next_batch is None or new is None or _key(next_batch) != _key(new)
        try:
            batch_id = None if new is None else self._open(new).id
            return self._connection.do(
                lambda cursor: event.write(cursor, batch_id, self._actor, last=last), durable=last
            )
        except RecordRejectedError:
            return True  # already logged; another attempt would be rejected too

    def _open(self, new: NewBatch) -> Batch:
        if _key(new) not in self._batches:
            requested_at = self.requested_at[_key(new)]
            self._batches[_key(new)] = self._connection.do(
                lambda cursor: batches.open_batch(cursor, new, ago=time.monotonic() - requested_at),
                durable=True,
            )
        return self._batches[_key(new)]

    def _final_flush(self) -> None:
        deadline = time.monotonic() + FLUSH_TIMEOUT_SECONDS
        while self._pending:
            self._connection.reset_backoff()
            try:
                self._flush()
            except TrackingUnavailableError:
                if time.monotonic() < deadline:
                    time.sleep(_RETRY_SECONDS)
                    continue
            return

    def _log_pending(self) -> None:
        if self._pending:
            named = [str(event) for event in list(self._pending)[:_MAX_LOGGED_EVENTS]]
            more = ["…"] if len(self._pending) > _MAX_LOGGED_EVENTS else []
            self._logger.error(
                "run %s ended with %d events not recorded: %s",
                self._actor.run_id,
                len(self._pending),
                "; ".join(named + more),
            )
            self._pending.clear()


def _key(batch: NewBatch) -> tuple[str, str]:
    return batch.batch_key, batch.dataset


def _is_about(event: TrackingEvent, batch: NewBatch) -> bool:
    return event.batch is not None and _key(event.batch) == _key(batch)
