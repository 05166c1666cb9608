"""The tracker: how a worker records its days. A failure to record does not stop the sync.

An outage of the tracking tables is logged once; events during the outage are written in order when
the tables are available again. A sync is stopped only if the records show that the worker must not
continue: SupersededError, DayDoneError, BatchCancelledError or WorkerLostError. Does not keep the
pending events: see `pending_writes.py`.
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
    DayCounts,
    FailedAttempt,
    NewBatch,
    SmallDay,
    StartedDay,
    SyncedDay,
)
from sync_pipeline.tracking.read import day_checks
from sync_pipeline.tracking.state import attempts, batches, source_columns
from sync_pipeline.tracking.worker import connection, events, workers
from sync_pipeline.tracking.worker.heartbeat import Heartbeat
from sync_pipeline.tracking.worker.pending_writes import PendingWrites

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_logger = logging.getLogger(__name__)


class Tracker:
    """Writes the records for the days of one run. Each contains `run_id` and `triggered_by`.

    With a `heartbeat`, a day starts only if its worker is still registered. A batch is passed as it
    was requested; it is opened or joined when its record is first needed, or later if the tables
    are unavailable then.
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
        self._writes = PendingWrites(settings, events.Actor(run_id, triggered_by), logger)

    def clone(self) -> "Tracker":
        """Return a tracker for another thread of the same run; see `transfer_pending_to`."""
        clone = Tracker(
            self._settings,
            run_id=self.run_id,
            triggered_by=self.triggered_by,
            heartbeat=self._heartbeat,
            logger=self._logger,
        )
        clone._writes.requested_at = self._writes.requested_at
        return clone

    def transfer_pending_to(self, other: "Tracker") -> None:
        """Move the pending writes to another tracker of the run; close the connection."""
        self._writes.transfer_pending_to(other._writes)

    @property
    def in_target(self) -> bool:
        """Whether a day's success can be recorded in the transaction that loads it, because the
        tracking tables are in the target database. False until both have been available."""
        return self._writes.in_target

    @property
    def has_pending(self) -> bool:
        """Whether any events are not recorded yet."""
        return self._writes.has_pending

    def open_batch(self, new: NewBatch) -> Batch | None:
        """Open or join a batch; return it, or None if the tables are unavailable."""
        return self._writes.batch(new)

    def retry_batch(self, new: NewBatch, days: Sequence[date], before: datetime) -> None:
        """Reset to pending those of `days` that failed before the batch was requested again.

        `before` is the time of that request. If there are any such days, the batch's record is
        `syncing` afterwards.
        """
        self._writes.record(events.BatchRetried(new, days, before))

    def batch_days(self, new: NewBatch) -> dict[date, AttemptState]:
        """Return the state of each day of a batch; empty if the batch is not open yet or the tables
        are unavailable."""
        return (
            self._writes.try_do(lambda c: batches.day_states(c, new.batch_key, new.dataset)) or {}
        )

    def synced_days(self, dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
        """Return which of `days` are synced; empty if the tables are unavailable."""
        return self._writes.try_do(lambda c: attempts.synced_days(c, dataset, days)) or {}

    def skip(self, new: NewBatch, days: Sequence[date]) -> None:
        """Mark days of a batch as skipped."""
        self._writes.record(events.DaysSkipped(new, days))

    def invalidate_days(self, dataset: str, table: str) -> None:
        """Record that the dataset's target table is missing, so its days no longer count as
        synced."""
        self._writes.record(events.TableMissing(dataset, table, time.monotonic()))

    def begin(
        self,
        dataset: str,
        day: date,
        new: NewBatch | None,
        after: FailedAttempt | None = None,
        *,
        resync: bool = True,
    ) -> Attempt | None:
        """Start an attempt for a day whose lock the caller holds; return it, or None if the tables
        are unavailable.

        `after` is the worker's previous attempt for the day, which is closed as failed. Raises
        DayDoneError if the day was synced in this batch or, unless `resync`, at any time;
        BatchCancelledError if the batch was cancelled; WorkerLostError if this worker was presumed
        dead.

        Does not wait until the commit is on disk: a day whose start is lost in a crash counts as
        not started.
        """
        batch = None if new is None else self.open_batch(new)
        if batch is None and new is not None:
            return None  # a day started without its batch would be missing from the batch

        def work(cursor: "Cursor") -> Attempt:
            self._check_registration(cursor)
            return attempts.begin(
                cursor,
                dataset,
                day,
                batch_id=batch.id if batch else None,
                run_id=self.run_id,
                triggered_by=self.triggered_by,
                after=after,
                resync=resync,
            )

        return self._writes.try_do(work)

    def is_success(self, attempt: Attempt) -> bool:
        """Return whether `attempt` is recorded as a success, or False if this cannot be
        determined."""
        return bool(self._writes.try_do(lambda cursor: attempts.is_success(cursor, attempt)))

    def confirm(self, attempt: Attempt) -> None:
        """Check that `attempt` is still running, before its rows are committed in another database.

        Raises SupersededError if it was closed or a later attempt started. Does nothing if the
        tables are unavailable.
        """
        if self._writes.try_do(lambda cursor: attempts.is_running(cursor, attempt)) is False:
            raise attempts.superseded_error(attempt)

    def succeed_in(
        self, cursor: "Cursor", attempt: Attempt, counts: DayCounts, *, refresh: bool
    ) -> bool:
        """Record a day's success in the transaction that loads the day (`cursor`).

        Returns whether it was recorded; on an error, rolls back to a savepoint. Raises
        SupersededError if the attempt was closed or superseded; the caller then has to roll back
        the transaction.
        """
        try:
            # One round trip for both statements; the commit that follows ends the savepoint.
            lock_timeout = int(connection.LOCK_TIMEOUT_SECONDS * 1000)
            cursor.execute("SAVEPOINT tracking; SET LOCAL lock_timeout = %s", [lock_timeout])
            attempts.succeed(cursor, attempt, counts)
            if refresh:
                batches.refresh_all(cursor, [attempt.batch_id])
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT tracking")
            self._logger.warning(
                "dataset %s, day %s: could not record this day in its data transaction; "
                "will record it after the commit: %s",
                attempt.dataset,
                attempt.day,
                one_line(error),
            )
            return False
        return True

    def succeed(self, day: StartedDay, counts: DayCounts, *, at: float, refresh: bool) -> None:
        """Record a day's success after its rows were committed, even if its attempt was closed in
        the meantime. `at` is when the day ended (`time.monotonic()`)."""
        self._writes.record(events.DaySucceeded(day, counts, at, refresh))

    def fail(self, day: StartedDay, error: str) -> None:
        """Record the failure of a started day; `error` is one line without secrets."""
        self._writes.record(events.DayFailed(day, error, time.monotonic()))

    def refuse(self, dataset: str, day: date, new: NewBatch | None, error: str) -> None:
        """Record that a day failed before it could start."""
        self._writes.record(events.DayRefused(dataset, day, new, error))

    def refresh(self, new: NewBatch) -> None:
        """Refresh the batch's record from its days."""
        self._writes.record(events.BatchProgressed(new))

    def mark_not_run(self, new: NewBatch, days: Sequence[date], error: str) -> None:
        """Mark those of `days` that are unfinished in the batch as not run."""
        self._writes.record(events.DaysNotRun(new, days, error))

    def mark_batch_not_run(self, batch_key: str, dataset: str, error: str) -> None:
        """Mark the unfinished days of a batch that this run started or planned as not run.

        Does nothing if `dataset` has no batch with this key.
        """

        def work(cursor: "Cursor") -> None:
            batch = batches.find_batch(cursor, batch_key, dataset)
            if batch is not None:
                attempts.mark_days_not_run(cursor, batch.id, error, planned_by=self.run_id)

        self._writes.try_do(work, durable=True)

    def record_replay_in(self, cursor: "Cursor", day: SyncedDay, kept: int) -> None:
        """Record in the caller's transaction that `kept` rows of a day are still quarantined."""
        attempts.record_replay(cursor, day, kept)

    def record_replay(self, dataset: str, day: SyncedDay, kept: int) -> None:
        """Record that `kept` rows of a day are still quarantined, once the others are committed."""
        self._writes.record(events.RowsReplayed(dataset, day, kept))

    def source_columns(self, dataset: str) -> dict[str, str] | None:
        """Return the types of the source's columns, by name, as they were when it was last opened;
        None if it was never opened or the tables are unavailable."""
        return self._writes.try_do(lambda cursor: source_columns.last_seen(cursor, dataset))

    def remember_columns(
        self, dataset: str, columns: Mapping[str, str], changes: Sequence[str]
    ) -> None:
        """Record a source's columns, and the resulting `changes` to the target table."""
        self._writes.record(events.ColumnsChanged(dataset, columns, changes))

    def small_days(
        self, dataset: str, days: Sequence[date], fraction: float
    ) -> list[SmallDay] | None:
        """Return which of `days` have fewer rows than `fraction` of the median of the preceding
        days; None if the tables are unavailable."""
        return self._writes.try_do(lambda c: day_checks.small_days(c, dataset, days, fraction))

    def mark_reported(self, reported: Sequence[Attempt]) -> None:
        """Record that these attempts' successes were reported to Dagster."""
        if reported:
            ids = [attempt.id for attempt in reported]
            self._writes.try_do(lambda cursor: attempts.mark_reported(cursor, ids))

    def close(self) -> None:
        """Write the pending events (waiting a few seconds if the tables are unavailable) and close
        the connection. Using the tracker again opens a new one."""
        self._writes.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_registration(self, cursor: "Cursor") -> None:
        beat = self._heartbeat
        if beat is None or not beat.registered or workers.lock_registration(cursor, beat.worker):
            return
        raise WorkerLostError(
            f"run {self.run_id}: this worker missed its heartbeat and was presumed dead; its run "
            "was terminated, so this worker is stopping. Retry the batch"
        )
