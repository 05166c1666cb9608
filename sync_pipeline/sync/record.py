"""`DayRecord`: how a worker records a day, from the attempt that begins to the end it comes to.

With the rows, where the records are in the target; else right after them, and the outbox holds the
day in between.
"""

import logging
import time
from dataclasses import dataclass
from datetime import date

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.sync.result import DayResult, Outcome
from sync_pipeline.targets.postgres import Loaded, Target
from sync_pipeline.targets.rejected import LoadedFor
from sync_pipeline.tracking.models import Attempt, BegunDay, DayCounts, FailedTry, NewBatch
from sync_pipeline.tracking.worker.outbox import Outbox
from sync_pipeline.tracking.worker.tracker import Tracker


@dataclass
class DayWork:
    """How far the work on one day has come: whether its lock was got, the attempt that is open, and
    the try before it. `since` is when it began and `ended` when its commit was asked for, by
    `time.monotonic()`; `committing` is true from there on, unless the commit fails."""

    day: date
    refresh: bool
    since: float
    begun: bool = False
    attempt: Attempt | None = None
    failed: FailedTry | None = None
    counts: DayCounts | None = None
    ended: float = 0.0
    committing: bool = False
    recorded: bool = False


class DayRecord:
    """The records of one worker's days. `outbox` holds those that are in and not recorded."""

    def __init__(
        self,
        dataset: Dataset,
        tracker: Tracker,
        batch: NewBatch | None,
        logger: logging.Logger,
        *,
        resync: bool,
    ) -> None:
        self.outbox = Outbox(tracker.run_id, logger)
        self._name = dataset.name
        self._tracker = tracker
        self._batch = batch
        self._resync = resync

    def begin(self, work: DayWork) -> None:
        """Begin an attempt at a day whose lock was got.

        Raises DayDoneError if nothing is left to do, BatchCancelledError, WorkerLostError.
        """
        work.ended = 0.0
        attempt = self._tracker.begin(
            self._name, work.day, self._batch, work.failed, again=self._resync
        )
        if attempt is not None or self._tracker.in_target:
            # While the tables are away, the attempt of the try before stands for this one too.
            work.attempt = attempt or work.attempt
            return
        # Another worker may have had the day since the try before, which is over therefore.
        self.leave(work)
        work.attempt, work.failed, work.since = None, None, time.monotonic()

    def loaded_for(self, work: DayWork) -> LoadedFor:
        """Return in whose name the day is loaded."""
        return LoadedFor(work.attempt.batch_id if work.attempt else None, self._tracker.run_id)

    def loaded(self, target: Target, work: DayWork, loaded: Loaded) -> None:
        """Write the success with the rows, or at least make sure that the day is still ours, and
        keep it in the outbox."""
        work.counts = DayCounts(
            loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected, loaded.bytes
        )
        with target.connection.cursor() as cursor:
            work.recorded = False
            if work.attempt is not None and self._tracker.in_target:
                work.recorded = self._tracker.succeed_in(
                    cursor, work.attempt, work.counts, refresh=work.refresh
                )
            elif work.attempt is not None:
                self._tracker.confirm(work.attempt)
            if not work.recorded:
                self.outbox.add(cursor, self._begun(work), work.counts)

    def came_in(self, target: Target, work: DayWork) -> bool:
        """Return whether the day's commit was made although it seemed to fail: its answer was
        lost."""
        if not work.ended:
            return False
        if work.recorded and work.attempt is not None:
            came_in = self._tracker.is_success(work.attempt)
        else:
            with target.connection.cursor() as cursor:
                came_in = self.outbox.has_latest(cursor)
        if came_in:
            self.outbox.committed()
        return came_in

    def succeed(self, work: DayWork) -> None:
        """Record a day that is in, if that was not done with its rows."""
        assert work.counts is not None  # noqa: S101  it was loaded
        if not work.recorded:
            begun = self._begun(work)
            self._tracker.succeed(begun, work.counts, at=work.ended, refresh=work.refresh)
        if not self._tracker.has_pending:
            self.outbox.recorded()

    def fail(self, work: DayWork, error: str) -> None:
        """Record a day that failed, as it was or before it could begin."""
        if work.begun:
            self._tracker.fail(self._begun(work), error)
        else:
            self._tracker.refuse(self._name, work.day, self._batch, error)

    def skip(self, work: DayWork) -> DayResult:
        """Leave a day to whoever has brought it in; return what it is now."""
        self.leave(work)
        if self._batch is not None:
            self._tracker.skip(self._batch, [work.day])
        synced = self._tracker.synced_days(self._name, [work.day]).get(work.day)
        seconds = time.monotonic() - work.since
        has_pending = self._tracker.has_pending
        return DayResult(work.day, Outcome.SKIPPED, seconds, synced=synced, unrecorded=has_pending)

    def leave(self, work: DayWork) -> None:
        """Record nothing of a day but that the try before, if there was one, failed."""
        if work.failed is not None:
            self._tracker.fail(self._begun(work), work.failed.error)

    def result(self, work: DayWork, error: str | None = None) -> DayResult:
        """Return what became of a day that was tried: a failure if there is an `error`."""
        return DayResult(
            work.day,
            Outcome.SUCCESS if error is None else Outcome.FAILED,
            time.monotonic() - work.since,
            work.counts if error is None else None,
            error,
            work.attempt,
            unrecorded=self._tracker.has_pending,
        )

    def _begun(self, work: DayWork) -> BegunDay:
        return BegunDay(self._name, work.day, self._batch, work.attempt, work.since)
