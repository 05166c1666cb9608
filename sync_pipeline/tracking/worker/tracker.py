"""A worker's hold on the tracking tables: what it may lose, and what it must not.

A failure to track is logged, once until it works again, and never stops a sync; only
`SupersededError` does, which says that somebody else has the day. What cannot be written now is
owed, and written before anything else once the tables are back.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.errors import WorkerLostError, one_line
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import (
    Attempt,
    AttemptState,
    Batch,
    BegunDay,
    DayCounts,
    FailedTry,
    NewBatch,
    SmallDay,
    SyncedDay,
)
from sync_pipeline.tracking.read import day_checks
from sync_pipeline.tracking.state import attempts, batches, source_columns
from sync_pipeline.tracking.worker import connection, events, workers
from sync_pipeline.tracking.worker.heartbeat import Heartbeat
from sync_pipeline.tracking.worker.ledger import Ledger

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

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
        self._settings = settings
        self._heartbeat = heartbeat
        self._logger = logger
        self._ledger = Ledger(settings, events.Actor(run_id, triggered_by), logger)
        self.in_target = self._ledger.in_target

    def another(self) -> "Tracker":
        """Return a tracker for the same run, for another thread; it is handed over in the end."""
        made = Tracker(
            self._settings,
            run_id=self.run_id,
            triggered_by=self.triggered_by,
            heartbeat=self._heartbeat,
            logger=self._logger,
        )
        made._ledger.asked = self._ledger.asked
        return made

    def transfer_pending_to(self, to: "Tracker") -> None:
        """Leave to another tracker of the run what could not be written yet, and close."""
        self._ledger.transfer_pending_to(to._ledger)

    @property
    def has_pending(self) -> bool:
        """Whether something that happened is not recorded yet."""
        return self._ledger.has_pending

    def open_batch(self, new: NewBatch) -> Batch | None:
        """Open, or join, a batch; return it, or None if the tables cannot be reached."""
        return self._ledger.batch(new)

    def retry_batch(self, new: NewBatch, days: Sequence[date], before: datetime) -> None:
        """Let those of `days` wait again that failed in the batch `before` it was asked for again.

        A batch that is closed is syncing then.
        """
        self._ledger.record(events.BatchRetried(new, days, before))

    def batch_days(self, new: NewBatch) -> dict[date, AttemptState]:
        """Return how each day of a batch stands; nothing if it is not open yet, or the tables
        cannot be reached."""
        return (
            self._ledger.ask(lambda c: batches.states_of_days(c, new.batch_key, new.dataset)) or {}
        )

    def synced_days(self, dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
        """Return those of `days` that are in; none if the tables cannot be reached."""
        return self._ledger.ask(lambda c: attempts.synced_days(c, dataset, days)) or {}

    def skip(self, new: NewBatch, days: Sequence[date]) -> None:
        """Mark days of a batch as skipped."""
        self._ledger.record(events.Skipped(new, days))

    def invalidate_days(self, dataset: str, table: str) -> None:
        """Note that the dataset's target table is missing now, and with it the days that are in."""
        self._ledger.record(events.TableMissing(dataset, table, time.monotonic()))

    def begin(
        self,
        dataset: str,
        day: date,
        new: NewBatch | None,
        after: FailedTry | None = None,
        *,
        again: bool = True,
    ) -> Attempt | None:
        """Begin an attempt at a day whose lock the caller holds; None if it cannot be written.

        `after` is the worker's own try before it, which ends as failed. Raises DayDoneError if the
        day is in and need not be done: in its batch, or at all unless it is to be done `again`;
        BatchCancelledError.

        Not awaited on disk: lost in a crash, it is as if the day had not begun, which is true.
        Raises WorkerLostError if this worker was taken for lost meanwhile.
        """
        batch = None if new is None else self.open_batch(new)
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
                again=again,
            )

        return self._ledger.ask(work)

    def is_success(self, attempt: Attempt) -> bool:
        """Return whether `attempt` is recorded as a success; False if the tables are away."""
        return bool(self._ledger.ask(lambda cursor: attempts.is_success(cursor, attempt)))

    def confirm(self, attempt: Attempt) -> None:
        """Make sure, before its rows are committed elsewhere, that `attempt` is still at its day.

        Raises SupersededError if it was given up or a later one began; goes on if the tables are
        away.
        """
        if self._ledger.ask(lambda cursor: attempts.is_running(cursor, attempt)) is False:
            raise attempts.superseded(attempt)

    def succeed_in(
        self, cursor: "Cursor", attempt: Attempt, counts: DayCounts, *, refresh: bool
    ) -> bool:
        """Write a day's success within the transaction of `cursor`, which loads the day.

        Returns whether it was written; a failure leaves the transaction as it was. Raises
        SupersededError, after which the transaction must be rolled back.
        """
        try:
            # One round trip for both; the commit that follows ends the savepoint.
            patience = int(connection.LOCK_TIMEOUT_SECONDS * 1000)
            cursor.execute("SAVEPOINT tracking; SET LOCAL lock_timeout = %s", [patience])
            attempts.succeed(cursor, attempt, counts)
            if refresh:
                batches.refresh_all(cursor, [attempt.batch_id])
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

    def succeed(self, day: BegunDay, counts: DayCounts, *, at: float, refresh: bool) -> None:
        """Write a day's success after its data was committed: it is in, whatever became of its
        attempt meanwhile. It ended at `at`, by `time.monotonic()`."""
        self._ledger.record(events.Succeeded(day, counts, at, refresh))

    def fail(self, day: BegunDay, error: str) -> None:
        """Write the failure of a day that had begun; `error` is one line without secrets."""
        self._ledger.record(events.Failed(day, error, time.monotonic()))

    def refuse(self, dataset: str, day: date, new: NewBatch | None, error: str) -> None:
        """Note that a day failed before it could begin."""
        self._ledger.record(events.Refused(dataset, day, new, error))

    def refresh(self, new: NewBatch) -> None:
        """Bring the batch's record up to its days."""
        self._ledger.record(events.Progressed(new))

    def mark_not_run(self, new: NewBatch, days: Sequence[date] | None, error: str) -> None:
        """Close unfinished days of a batch: all, or those in `days`."""
        self._ledger.record(events.DaysNotRun(new, days, error))

    def mark_batch_not_run(self, batch_key: str, dataset: str, error: str) -> None:
        """Close the unfinished days of the batch of `dataset` with this key, if there is one, that
        this run had begun or was to do."""

        def work(cursor: "Cursor") -> None:
            batch = batches.find_batch(cursor, batch_key, dataset)
            if batch is not None:
                attempts.mark_days_not_run(cursor, batch.id, error, planned_by=self.run_id)

        self._ledger.ask(work, durable=True)

    def replayed_in(self, cursor: "Cursor", day: SyncedDay, kept: int) -> None:
        """Note within the transaction of `cursor` that of a day's rejected rows `kept` are left."""
        attempts.replayed(cursor, day, kept)

    def replayed(self, dataset: str, day: SyncedDay, kept: int) -> None:
        """Note that of a day's rejected rows `kept` are left, after the others were committed."""
        self._ledger.record(events.Replayed(dataset, day, kept))

    def source_columns(self, dataset: str) -> dict[str, str] | None:
        """Return the type of each column of a source when it was last opened; None if it never
        was, or the tables cannot be reached."""
        return self._ledger.ask(lambda cursor: source_columns.seen(cursor, dataset))

    def remember_columns(
        self, dataset: str, columns: Mapping[str, str], changes: Sequence[str]
    ) -> None:
        """Note a source's columns, and what was changed at the target because of them."""
        self._ledger.record(events.ColumnsChanged(dataset, columns, changes))

    def small_days(self, dataset: str, days: Sequence[date], part: float) -> list[SmallDay] | None:
        """Return those of `days` with fewer rows than `part` of what is usual before them; None if
        the tables cannot be reached."""
        return self._ledger.ask(lambda c: day_checks.small_days(c, dataset, days, part))

    def mark_reported(self, told: Sequence[Attempt]) -> None:
        """Note that Dagster was told of these attempts' success."""
        if told:
            ids = [attempt.id for attempt in told]
            self._ledger.ask(lambda cursor: attempts.mark_reported(cursor, ids))

    def close(self) -> None:
        """Write what is owed, if that can be done in time, and close the connection; the tracker
        opens another if it is used again."""
        self._ledger.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_lost(self, cursor: "Cursor") -> None:
        beat = self._heartbeat
        if beat is None or not beat.registered or workers.hold(cursor, beat.worker):
            return
        raise WorkerLostError(
            f"run {self.run_id}: this worker gave no sign of life for too long and was taken for "
            "lost; its run was ended, and it stops. Retry the batch"
        )
