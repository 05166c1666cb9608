"""`DayWorker`: one worker's source, target and tracker, for one day after another.

A day is replaced in the target and recorded in the same transaction, so that data and record become
visible together or not at all. Where the records live in another database, they follow the commit,
and the outbox holds the day in between. A day that fails rolls back to its former content. After a
transient error it is tried again, each try an attempt of its own.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import psycopg2

from sync_pipeline.breaker import Breaker
from sync_pipeline.dataset import Dataset
from sync_pipeline.day_result import DayResult, Outcome
from sync_pipeline.ends import Ends
from sync_pipeline.errors import (
    BatchCancelledError,
    DayDoneError,
    SyncError,
    WorkerLostError,
    one_line,
)
from sync_pipeline.retrying import again
from sync_pipeline.settings import Settings, secrets_of
from sync_pipeline.targets.postgres import Target
from sync_pipeline.targets.rejected import LoadedFor
from sync_pipeline.tracking.models import (
    Attempt,
    BegunDay,
    DayCounts,
    FailedTry,
    NewBatch,
)
from sync_pipeline.tracking.outbox import Outbox
from sync_pipeline.tracking.tracker import Tracker

CANCELLED = "cancelled while it ran; the day was rolled back"


class _Stopped(BaseException):
    """This worker was told to stop."""


@dataclass
class _Day:
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


class DayWorker:
    """Syncs days of one dataset."""

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings,
        tracker: Tracker,
        batch: NewBatch | None,
        logger: logging.Logger,
        *,
        resync: bool = True,
        breaker: Breaker | None = None,
    ) -> None:
        self._dataset = dataset
        self._settings = settings
        self._tracker = tracker
        self._batch = batch
        self._resync = resync
        self._logger = logger
        self._ends = Ends(dataset, settings, tracker, logger)
        self._outbox = Outbox(tracker.run_id, logger)
        self._secrets = secrets_of(settings.database_url)
        self._breaker = breaker or Breaker(dataset)
        self._stop = threading.Event()

    def another(self) -> "DayWorker":
        """Return a worker like this one, for another thread; it is handed over in the end."""
        tracker = self._tracker.another()
        return DayWorker(
            self._dataset,
            self._settings,
            tracker,
            self._batch,
            self._logger,
            resync=self._resync,
            breaker=self._breaker,
        )

    @property
    def broken_by(self) -> SyncError | None:
        """Why the days after the last are not worth a try."""
        return self._breaker.broken_by

    def hand_over(self, to: "DayWorker") -> None:
        """Close, and leave to another worker of the run what could not be recorded yet."""
        self.close()
        self._tracker.hand_over(to._tracker)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Break off what this worker does in another thread; its day is rolled back and recorded as
        cancelled. Harmless if it does nothing."""
        self._stop.set()
        self._ends.break_off()

    def opens(self) -> bool:
        """Open target and source; return whether that could be done. The log says why not."""
        try:
            self.open_target()
            self.open_source(wait=False)
        except SyncError as error:
            self._logger.warning(
                "dataset %s: a worker fewer than parallel_days says: %s",
                self._dataset.name,
                one_line(error, *self._secrets),
            )
            self._ends.close()  # its slot too
            return False
        return True

    def open_target(self) -> None:
        """Connect to the target, in as many tries as a day has. Raises SyncError."""
        self._again(self._ends.open_target, partial(self._say_again, "target"))

    def open_source(self, *, wait: bool = True) -> None:
        """Open the source and make the target's table fit it, likewise. Raises SyncError, without
        `wait` also if too many workers read the source already."""
        self._secrets += self._settings.secrets_in(self._dataset.source.secret_settings)
        open_it = partial(self._ends.open_source, self._sleep if wait else None)
        self._again(open_it, partial(self._say_again, "source"))

    def sync_day(self, day: date, *, refresh: bool) -> DayResult:
        """Replace one day and record it; its failure is returned, not raised. A day that somebody
        else has brought in since it was looked at is skipped, as `resync` and the batch say."""
        work = _Day(day, refresh, time.monotonic())
        try:
            self._again(partial(self._load, work), partial(self._before_pause, work))
            self._record(work)
        except DayDoneError:
            return self._done(work)
        except BatchCancelledError as error:
            return self._cancelled(work, error)
        except WorkerLostError:
            self._ends.roll_back()  # the records are closed already, by whoever took it for lost
            raise
        except Exception as error:
            if self.stopped:
                return self._failed(work, _Stopped())
            if work.ended and self._came_in_at_last(work):
                return self._success(work)
            self._breaker.day_failed(error, *self._secrets)
            return self._failed(work, error)
        except _Stopped as error:
            return self._failed(work, error)
        except BaseException as error:
            if work.committing and self._ends.have_committed:  # told to end while it did
                self._record(work)
            else:
                self._failed(work, error)
            raise
        return self._success(work)

    def fail_day(self, day: date, error: SyncError) -> DayResult:
        """Record an attempt at `day` that failed with `error` before it could move a row."""
        work = _Day(day, refresh=True, since=time.monotonic())
        try:
            self._ends.open_target().begin_day(day)
            work.begun = True
            work.attempt = self._begin(work)
        except WorkerLostError:
            self._ends.roll_back()
            raise
        except DayDoneError:
            return self._done(work)
        except BatchCancelledError as cancelled:
            return self._cancelled(work, cancelled)
        except (SyncError, psycopg2.Error):
            self._logger.debug("the day is somebody else's; its record is left alone")
        return self._failed(work, error)

    def give_up(self, days: Sequence[date], error: SyncError) -> None:
        """Record that `days` were not run."""
        if self._batch is not None and days:
            self._tracker.give_up(self._batch, days, one_line(error, *self._secrets))

    def close(self) -> None:
        """Close source and target; what is not committed is rolled back."""
        self._ends.clear(self._outbox)
        self._ends.close()

    def _again(
        self, work: Callable[[], object], before_pause: Callable[[Exception, float], object]
    ) -> None:
        again(work, self._dataset.retry, before_pause, self._sleep)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _load(self, work: _Day) -> None:
        """Try the day once: its transaction, from the lock to the commit."""
        target = self._ends.open_target()
        target.begin_day(work.day)
        work.begun = True
        if work.ended and self._came_in(target, work):
            self._ends.roll_back()
            self._outbox.committed()
            return
        work.ended = 0.0
        # Begun before anything is read: an interrupt then always finds the attempt to close.
        attempt = self._begin(work)
        if attempt is None and not self._tracker.in_target:
            self._begin_unrecorded(work)
        else:
            # While the tables are away, the attempt of the try before stands for this one too.
            work.attempt = attempt or work.attempt
        with target.reading(work.day, self._ends.source) as reading:
            loaded = target.load_day(reading, self._loaded_for(work.attempt))
        work.counts = DayCounts(
            loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected, loaded.bytes
        )
        work.recorded = self._record_within(target, work)
        if not work.recorded:
            with target.connection.cursor() as cursor:
                self._outbox.add(cursor, self._begun(work), work.counts)
        if self.stopped:
            raise _Stopped
        # Before the commit, which lets others begin the day.
        work.ended = time.monotonic()
        work.committing = True
        try:
            target.commit(work.day)
        except SyncError:
            work.committing = False
            raise
        self._outbox.committed()

    def _begin(self, work: _Day) -> Attempt | None:
        return self._tracker.begin(
            self._dataset.name, work.day, self._batch, work.failed, again=self._resync
        )

    def _came_in(self, target: Target, work: _Day) -> bool:
        """Whether the commit of the try before was made, whose answer was lost."""
        if work.recorded and work.attempt is not None:
            return self._tracker.is_success(work.attempt)
        with target.connection.cursor() as cursor:
            return self._outbox.has_latest(cursor)

    def _begin_unrecorded(self, work: _Day) -> None:
        """Begin a try that no attempt could be begun for; one of the try before is over.

        Another worker may have had the day in the pause, and the record must not show two at it.
        """
        if work.failed is not None:
            self._tracker.fail(self._begun(work), work.failed.error)
        work.attempt, work.failed, work.since = None, None, time.monotonic()

    def _loaded_for(self, attempt: Attempt | None) -> LoadedFor:
        return LoadedFor(attempt.batch_id if attempt else None, self._tracker.run_id)

    def _begun(self, work: _Day) -> BegunDay:
        return BegunDay(self._dataset.name, work.day, self._batch, work.attempt, work.since)

    def _record_within(self, target: Target, work: _Day) -> bool:
        """Write the success with the rows, or at least make sure that the day is still ours."""
        if work.attempt is None or work.counts is None:
            return False
        if not self._tracker.in_target:
            self._tracker.confirm(work.attempt)
            return False
        with target.connection.cursor() as cursor:
            return self._tracker.succeed_in(cursor, work.attempt, work.counts, refresh=work.refresh)

    def _before_pause(self, work: _Day, error: Exception, pause: float) -> None:
        """Let the day go, whose attempt stays open, until the next try begins another."""
        self._ends.roll_back()
        if work.attempt is not None:
            work.failed = FailedTry(work.attempt, one_line(error, *self._secrets))
        self._say_again(f"day {work.day}", error, pause)

    def _say_again(self, what: str, error: Exception, pause: float) -> None:
        self._logger.warning(
            "dataset %s, %s: tried again in %.1f s: %s",
            self._dataset.name,
            what,
            pause,
            one_line(error, *self._secrets),
        )

    def _came_in_at_last(self, work: _Day) -> bool:
        """Likewise, when no other try is made."""
        try:
            came_in = self._came_in(self._ends.open_target(), work)
        except (SyncError, psycopg2.Error):
            return False
        if came_in:
            self._ends.roll_back()
            self._outbox.committed()
            self._record(work)
        return came_in

    def _success(self, work: _Day) -> DayResult:
        self._breaker.day_succeeded()
        seconds = time.monotonic() - work.since
        return DayResult(
            work.day,
            Outcome.SUCCESS,
            seconds,
            work.counts,
            attempt=work.attempt,
            unrecorded=self._tracker.owes,
        )

    def _record(self, work: _Day) -> None:
        """Record a day that is in, if that was not done with its rows."""
        assert work.counts is not None  # noqa: S101  it was loaded
        if not work.recorded:
            begun = self._begun(work)
            self._tracker.succeed(begun, work.counts, at=work.ended, refresh=work.refresh)
        if not self._tracker.owes:
            self._outbox.recorded()

    def _done(self, work: _Day) -> DayResult:
        """Leave a day to whoever has brought it in."""
        self._ends.roll_back()
        if work.failed is not None:
            self._tracker.fail(self._begun(work), work.failed.error)
        if self._batch is not None:
            self._tracker.skip(self._batch, [work.day])
        synced = self._tracker.synced_days(self._dataset.name, [work.day]).get(work.day)
        seconds = time.monotonic() - work.since
        return DayResult(
            work.day, Outcome.SKIPPED, seconds, synced=synced, unrecorded=self._tracker.owes
        )

    def _cancelled(self, work: _Day, error: BatchCancelledError) -> DayResult:
        """Leave a day as whoever cancelled the batch has recorded it, and those after it too."""
        self._ends.roll_back()
        if work.failed is not None:
            self._tracker.fail(self._begun(work), work.failed.error)
        self._breaker.broken_by = error
        seconds = time.monotonic() - work.since
        return DayResult(
            work.day,
            Outcome.FAILED,
            seconds,
            error=one_line(error),
            attempt=work.attempt,
            unrecorded=self._tracker.owes,
        )

    def _failed(self, work: _Day, error: BaseException) -> DayResult:
        self._ends.roll_back()
        text = one_line(error, *self._secrets)
        if not isinstance(error, Exception):
            text = CANCELLED
        elif not isinstance(error, (SyncError, psycopg2.Error)):
            self._logger.exception(
                "dataset %s, day %s: a bug, please report", self._dataset.name, work.day
            )
        if work.begun:
            self._tracker.fail(self._begun(work), text)
        else:
            self._tracker.refuse(self._dataset.name, work.day, self._batch, text)
        seconds = time.monotonic() - work.since
        return DayResult(
            work.day,
            Outcome.FAILED,
            seconds,
            error=text,
            attempt=work.attempt,
            unrecorded=self._tracker.owes,
        )
