"""`DayRecord`: record the start and end of each attempt for a day.

If the tracking tables are in the target database, a success is recorded in the transaction that
loads the rows; otherwise it is recorded after the commit, and the outbox keeps the day until then.
Does not load rows: see `worker.py`.
"""

import logging
import time
from dataclasses import dataclass
from datetime import date

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.sync.result import DayResult, Outcome
from sync_pipeline.targets.postgres import Loaded, Target
from sync_pipeline.targets.quarantine import LoadContext
from sync_pipeline.tracking.models import Attempt, DayCounts, FailedAttempt, NewBatch, StartedDay
from sync_pipeline.tracking.worker.outbox import Outbox
from sync_pipeline.tracking.worker.tracker import Tracker


@dataclass
class DaySync:
    """The state of one day's sync.

    `locked` is true once the day's lock has been acquired. `attempt` is the open attempt, and
    `failed_attempt` is the previous one, which failed. `since` is the start time and `ended` is the
    commit time, both from `time.monotonic()`. `committing` is true once the commit has started, and
    false again if it fails. `recorded` is true if the success was recorded in the transaction that
    loads the rows. If `refresh` is true, a success also updates the batch's record.
    """

    day: date
    refresh: bool
    since: float
    locked: bool = False
    attempt: Attempt | None = None
    failed_attempt: FailedAttempt | None = None
    counts: DayCounts | None = None
    ended: float = 0.0
    committing: bool = False
    recorded: bool = False


class DayRecord:
    """Writes the status records for the days that one worker syncs.

    `outbox` holds committed days that are not recorded yet.
    """

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

    def begin(self, sync: DaySync) -> None:
        """Begin an attempt for a day whose lock is held.

        Raises DayDoneError if the day is already synced, BatchCancelledError if the batch was
        cancelled, and WorkerLostError if this worker was declared lost.
        """
        sync.ended = 0.0
        attempt = self._tracker.begin(
            self._name, sync.day, self._batch, sync.failed_attempt, resync=self._resync
        )
        if attempt is not None or self._tracker.in_target:
            # If the tracking tables are unavailable, continue the previous attempt.
            sync.attempt = attempt or sync.attempt
            return
        # Another worker may have synced the day in the meantime, so close the previous attempt.
        self.fail_previous_attempt(sync)
        sync.attempt, sync.failed_attempt, sync.since = None, None, time.monotonic()

    def load_context(self, sync: DaySync) -> LoadContext:
        """Return the batch (if any) and the run that load the day."""
        return LoadContext(sync.attempt.batch_id if sync.attempt else None, self._tracker.run_id)

    def record_loaded(self, target: Target, sync: DaySync, loaded: Loaded) -> None:
        """Record the success in the transaction that loads the rows. If that is not possible, check
        that the attempt has not been superseded and add the day to the outbox."""
        sync.counts = DayCounts(
            loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected, loaded.bytes
        )
        with target.connection.cursor() as cursor:
            sync.recorded = False
            if sync.attempt is not None and self._tracker.in_target:
                sync.recorded = self._tracker.succeed_in(
                    cursor, sync.attempt, sync.counts, refresh=sync.refresh
                )
            elif sync.attempt is not None:
                self._tracker.confirm(sync.attempt)
            if not sync.recorded:
                self.outbox.add(cursor, self._started_day(sync), sync.counts)

    def is_committed(self, target: Target, sync: DaySync) -> bool:
        """Return whether the day was committed even though the commit raised an error, as happens
        if the server's response is lost."""
        if not sync.ended:
            return False
        if sync.recorded and sync.attempt is not None:
            committed = self._tracker.is_success(sync.attempt)
        else:
            with target.connection.cursor() as cursor:
                committed = self.outbox.latest_was_committed(cursor)
        if committed:
            self.outbox.mark_committed()
        return committed

    def succeed(self, sync: DaySync) -> None:
        """Record a committed day as a success, unless its load transaction already did so."""
        assert sync.counts is not None  # noqa: S101  it was loaded
        if not sync.recorded:
            day = self._started_day(sync)
            self._tracker.succeed(day, sync.counts, at=sync.ended, refresh=sync.refresh)
        if not self._tracker.has_pending:
            self.outbox.mark_recorded()

    def fail(self, sync: DaySync, error: str) -> None:
        """Record that a day failed, possibly because its lock could not be acquired."""
        if sync.locked:
            self._tracker.fail(self._started_day(sync), error)
        else:
            self._tracker.refuse(self._name, sync.day, self._batch, error)

    def skip(self, sync: DaySync) -> DayResult:
        """Record that a day was skipped because another worker synced it; return the result."""
        self.fail_previous_attempt(sync)
        if self._batch is not None:
            self._tracker.skip(self._batch, [sync.day])
        synced = self._tracker.synced_days(self._name, [sync.day]).get(sync.day)
        seconds = time.monotonic() - sync.since
        has_pending = self._tracker.has_pending
        return DayResult(sync.day, Outcome.SKIPPED, seconds, synced=synced, unrecorded=has_pending)

    def fail_previous_attempt(self, sync: DaySync) -> None:
        """Record the failure of the previous attempt, if there was one."""
        if sync.failed_attempt is not None:
            self._tracker.fail(self._started_day(sync), sync.failed_attempt.error)

    def result(self, sync: DaySync, error: str | None = None) -> DayResult:
        """Return the result of an attempted day: a failure if `error` is given."""
        return DayResult(
            sync.day,
            Outcome.SUCCESS if error is None else Outcome.FAILED,
            time.monotonic() - sync.since,
            sync.counts if error is None else None,
            error,
            sync.attempt,
            unrecorded=self._tracker.has_pending,
        )

    def _started_day(self, sync: DaySync) -> StartedDay:
        return StartedDay(self._name, sync.day, self._batch, sync.attempt, sync.since)
