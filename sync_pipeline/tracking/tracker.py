"""A worker's hold on the tracking tables: what it may lose, and what it must not.

The tables may live with the data or on another server, and either may go away. A failure to track
is logged, once until it works again, and never stops a sync; only `SupersededError` does, which
says that somebody else has the day. While the tables cannot be reached, they are tried again
after a pause, so that the sync goes on at full speed.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TrackingError, WorkerLostError, one_line
from sync_pipeline.settings import Settings
from sync_pipeline.tracking import attempts, batches, workers
from sync_pipeline.tracking.heartbeat import Heartbeat
from sync_pipeline.tracking.models import (
    Attempt,
    AttemptState,
    Batch,
    DayCounts,
    FailedTry,
    NewBatch,
    SyncedDay,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

PATIENCE_SECONDS = 30.0
"""How long a sync waits for tables that somebody has locked, before it goes on without them."""

_PAUSE_SECONDS = 5.0
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


class Tracker:
    """Tracks one run's days. `run_id` and `triggered_by` go into every record it writes.

    With a `heartbeat`, a day begins only as long as the worker was not taken for lost.
    `in_target` says whether the tables live in the target database, so that a day's success can
    be written in the transaction that loads it. A batch is named by what was asked for, and opened
    or joined when its record is first needed, or later if the tables were away.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        run_id: str | None = None,
        triggered_by: str | None = None,
        heartbeat: Heartbeat | None = None,
        logger: logging.Logger = _logger,
    ) -> None:
        self.run_id = run_id
        self.triggered_by = triggered_by
        self._heartbeat = heartbeat
        self.in_target = settings.tracking_url == settings.database_url
        self._url = settings.tracking_url
        self._setting = settings.tracking_setting
        self._logger = logger
        self._connection: Connection | None = None
        self._down_until: float | None = None
        self._batches: dict[tuple[str, str], Batch] = {}

    def open_batch(self, new: NewBatch) -> Batch | None:
        """Open, or join, a batch; return it, or None if the tables cannot be reached."""
        key = (new.batch_key, new.dataset)
        if key not in self._batches:
            batch = self._write(lambda cursor: batches.open_batch(cursor, new), durable=True)
            if batch is None:
                return None
            self._batches[key] = batch
        return self._batches[key]

    def take_up_again(self, new: NewBatch, days: Sequence[date], before: datetime) -> None:
        """Let those of `days` wait again that failed in the batch `before` it was asked for again.

        A batch that is closed is syncing then.
        """
        batch = self.open_batch(new)
        if batch is not None:
            batch_id = batch.id
            again = replace(new, run_id=self.run_id, triggered_by=self.triggered_by)
            self._write(lambda c: batches.take_up_again(c, batch_id, again, days, before))

    def batch_days(self, new: NewBatch) -> dict[date, AttemptState]:
        """Return how each day of a batch stands; nothing if it is not open yet, or the tables
        cannot be reached."""
        return self._write(lambda c: batches.states_of_days(c, new.batch_key, new.dataset)) or {}

    def synced_days(self, dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
        """Return those of `days` that are in; none if the tables cannot be reached."""
        return self._write(lambda c: attempts.synced_days(c, dataset, days)) or {}

    def skip(self, new: NewBatch, days: Sequence[date]) -> None:
        """Mark days of a batch as skipped."""
        batch = self.open_batch(new)
        if batch is not None:
            batch_id = batch.id
            self._write(lambda c: attempts.skip(c, batch_id, days, self.run_id), durable=True)

    def begin(
        self, dataset: str, day: date, new: NewBatch | None, after: FailedTry | None = None
    ) -> Attempt | None:
        """Begin an attempt at a day whose lock the caller holds; None if it cannot be written.

        `after` is the worker's own try before it, which ends as failed.

        Not awaited on disk: lost in a crash, it is as if the day had not begun, which is true.
        Raises WorkerLostError if this worker was taken for lost meanwhile.
        """
        batch = self._opened(new)
        if batch is None and new is not None:
            return None  # begun alone, the day would be missing in its batch

        def work(cursor: "Cursor") -> Attempt:
            self._refuse_lost(cursor)
            return attempts.begin(
                cursor,
                dataset,
                day,
                batch_id=batch.id if batch else None,
                run_id=self.run_id,
                triggered_by=self.triggered_by,
                after=after,
            )

        return self._write(work)

    def refuse(self, dataset: str, day: date, new: NewBatch | None, error: str) -> None:
        """Note that a day failed before an attempt could begin."""
        batch = self._opened(new)
        if batch is None and new is not None:
            return
        self._write(
            lambda cursor: attempts.refuse(
                cursor,
                dataset,
                day,
                error,
                batch_id=batch.id if batch else None,
                run_id=self.run_id,
                triggered_by=self.triggered_by,
            ),
            durable=True,
        )

    def succeed_in(
        self, cursor: "Cursor", attempt: Attempt, counts: DayCounts, *, refresh: bool
    ) -> bool:
        """Write a day's success within the transaction of `cursor`, which loads the day.

        Returns whether it was written; a failure leaves the transaction as it was. Raises
        SupersededError, after which the transaction must be rolled back.
        """
        try:
            # One round trip for both; the commit that follows ends the savepoint.
            cursor.execute(
                "SAVEPOINT tracking; SET LOCAL lock_timeout = %s", [int(PATIENCE_SECONDS * 1000)]
            )
            self._succeed(cursor, attempt, counts, refresh)
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT tracking")
            self._logger.warning(
                "dataset %s, day %s: not recorded with its data, will be after it: %s",
                attempt.dataset,
                attempt.day,
                one_line(error),
            )
            return False
        return True

    def mark_told(self, told: Sequence[Attempt]) -> None:
        """Note that Dagster was told of these attempts' success."""
        if told:
            ids = [attempt.id for attempt in told]
            self._write(lambda cursor: attempts.mark_told(cursor, ids))

    def succeed(self, attempt: Attempt, counts: DayCounts, *, refresh: bool) -> None:
        """Write a day's success after its data was committed."""
        self._write(lambda c: self._succeed(c, attempt, counts, refresh), durable=True)

    def fail(self, attempt: Attempt, error: str) -> None:
        """Write a day's failure; `error` is one line without secrets."""
        self._write(lambda cursor: attempts.fail(cursor, attempt, error), durable=True)

    def refresh(self, new: NewBatch) -> None:
        """Bring the batch's record up to its days."""
        batch = self.open_batch(new)
        if batch is not None:
            batch_id = batch.id
            self._write(lambda cursor: batches.refresh(cursor, batch_id), durable=True)

    def give_up(self, new: NewBatch, days: Sequence[date] | None, error: str) -> None:
        """Close unfinished days of a batch: all, or those in `days`."""
        batch = self.open_batch(new)
        if batch is not None:
            batch_id = batch.id
            self._write(lambda c: attempts.give_up_batch(c, batch_id, error, days), durable=True)

    def give_up_run(self, error: str) -> None:
        """Close what this tracker's run had begun and not finished."""
        if self.run_id is not None:
            run_id = self.run_id
            self._write(lambda cursor: attempts.give_up_run(cursor, run_id, error), durable=True)

    def give_up_key(self, batch_key: str, dataset: str, error: str) -> None:
        """Close the unfinished days of the batch of `dataset` with this key, if there is one."""

        def work(cursor: "Cursor") -> None:
            batch = batches.find_batch(cursor, batch_key, dataset)
            if batch is not None:
                attempts.give_up_batch(cursor, batch.id, error)

        self._write(work, durable=True)

    def close(self) -> None:
        """Close the connection; the tracker opens another if it is used again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, new: NewBatch | None) -> Batch | None:
        return None if new is None else self.open_batch(new)

    def _refuse_lost(self, cursor: "Cursor") -> None:
        beat = self._heartbeat
        if beat is None or not beat.signed_on or workers.hold(cursor, beat.worker):
            return
        raise WorkerLostError(
            f"run {self.run_id}: this worker gave no sign of life for too long and was taken for "
            "lost; its run was ended, and it stops. Retry the batch"
        )

    @staticmethod
    def _succeed(cursor: "Cursor", attempt: Attempt, counts: DayCounts, refresh: bool) -> None:
        attempts.succeed(cursor, attempt, counts)
        if refresh:
            batches.refresh_all(cursor, [attempt.batch_id])

    def _write(self, work: Callable[["Cursor"], _T], *, durable: bool = False) -> _T | None:
        """Do `work` in a transaction of its own; None, and one log line, if it cannot be done."""
        if self._down_until is not None and time.monotonic() < self._down_until:
            return None
        try:
            result = self._in_transaction(work, durable)
        except (psycopg2.IntegrityError, psycopg2.DataError) as error:
            # One record was refused; the tables are there for the next.
            self._logger.error("a record was not written, the sync goes on: %s", one_line(error))
            return None
        except (psycopg2.Error, TrackingError) as error:
            self._went_down(error)
            return None
        if self._down_until is not None:
            self._logger.info("the tracking tables can be written again")
            self._down_until = None
        return result

    def _in_transaction(self, work: Callable[["Cursor"], _T], durable: bool) -> _T:
        fresh = self._connection is None
        try:
            return self._attempt(work, durable)
        except TransactionRollbackError:
            # A deadlock was broken at our cost; whoever we were in the way of is through.
            return self._attempt(work, durable)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # A connection that broke while it lay idle says nothing about the server now.
            if fresh or self._connection is None or not self._connection.closed:
                raise
            self._connection = None
            return self._attempt(work, durable)

    def _attempt(self, work: Callable[["Cursor"], _T], durable: bool) -> _T:
        if self._connection is None:
            self._connection = connect(
                self._url,
                setting=self._setting,
                purpose="tracking",
                error=TrackingError,
                statement_timeout_seconds=PATIENCE_SECONDS,
            )
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = off")
        with self._connection, self._connection.cursor() as cursor:
            if durable:
                cursor.execute("SET LOCAL synchronous_commit = on")
            return work(cursor)

    def _went_down(self, error: Exception) -> None:
        if self._down_until is None:
            self._logger.error("tracking failed, the sync goes on without it: %s", one_line(error))
        self._down_until = time.monotonic() + _PAUSE_SECONDS
        self._batches.clear()  # what comes back may be older than what went
        try:
            self.close()
        except psycopg2.Error:
            self._connection = None
