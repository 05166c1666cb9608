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
from datetime import date
from functools import partial

import psycopg2

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import (
    BatchCancelledError,
    DayDoneError,
    SyncError,
    WorkerLostError,
    one_line,
)
from sync_pipeline.retry import again
from sync_pipeline.settings import Settings, secrets_of
from sync_pipeline.sync.circuit_breaker import CircuitBreaker
from sync_pipeline.sync.connections import WorkerConnections
from sync_pipeline.sync.record import DayRecord, DayWork
from sync_pipeline.sync.result import DayResult
from sync_pipeline.tracking.models import FailedTry, NewBatch
from sync_pipeline.tracking.worker.tracker import Tracker

CANCELLED = "cancelled while it ran; the day was rolled back"


class _Stopped(BaseException):
    """This worker was told to stop."""


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
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._dataset = dataset
        self._settings = settings
        self._tracker = tracker
        self._batch = batch
        self._resync = resync
        self._logger = logger
        self._ends = WorkerConnections(dataset, settings, tracker, logger)
        self._record = DayRecord(dataset, tracker, batch, logger, resync=resync)
        self._secrets = secrets_of(settings.database_url)
        self._breaker = breaker or CircuitBreaker(dataset)
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
    def tripped_by(self) -> SyncError | None:
        """Why the days after the last are not worth a try."""
        return self._breaker.tripped_by

    def transfer_pending_to(self, to: "DayWorker") -> None:
        """Close, and leave to another worker of the run what could not be recorded yet."""
        self.close()
        self._tracker.transfer_pending_to(to._tracker)

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
        work = DayWork(day, refresh, time.monotonic())
        try:
            self._again(partial(self._load, work), partial(self._before_pause, work))
            self._record.succeed(work)
        except (DayDoneError, BatchCancelledError, WorkerLostError) as error:
            return self._left(work, error)
        except Exception as error:
            if self.stopped:
                return self._failed(work, _Stopped())
            if not self._came_in_at_last(work):
                self._breaker.day_failed(error, *self._secrets)
                return self._failed(work, error)
        except _Stopped as error:
            return self._failed(work, error)
        except BaseException as error:
            if work.committing and self._ends.have_committed:  # told to end while it did
                self._record.succeed(work)
            else:
                self._failed(work, error)
            raise
        self._breaker.day_succeeded()
        return self._record.result(work)

    def fail_day(self, day: date, error: SyncError) -> DayResult:
        """Record an attempt at `day` that failed with `error` before it could move a row."""
        work = DayWork(day, refresh=True, since=time.monotonic())
        try:
            self._ends.open_target().begin_day(day)
            work.begun = True
            self._record.begin(work)
        except (DayDoneError, BatchCancelledError, WorkerLostError) as why:
            return self._left(work, why)
        except (SyncError, psycopg2.Error):
            self._logger.debug("the day is somebody else's; its record is left alone")
        return self._failed(work, error)

    def mark_not_run(self, days: Sequence[date], error: SyncError) -> None:
        """Record that `days` were not run."""
        if self._batch is not None and days:
            self._tracker.mark_not_run(self._batch, days, one_line(error, *self._secrets))

    def close(self) -> None:
        """Close source and target; what is not committed is rolled back."""
        self._ends.clear(self._record.outbox)
        self._ends.close()

    def _again(
        self, work: Callable[[], object], before_pause: Callable[[Exception, float], object]
    ) -> None:
        again(work, self._dataset.retry, before_pause, self._sleep)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _load(self, work: DayWork) -> None:
        """Try the day once: its transaction, from the lock to the commit."""
        target = self._ends.open_target()
        target.begin_day(work.day)
        work.begun = True
        if self._record.came_in(target, work):
            self._ends.roll_back()
            return
        # Begun before anything is read: an interrupt then always finds the attempt to close.
        self._record.begin(work)
        with target.reading(work.day, self._ends.source) as reading:
            loaded = target.load_day(reading, self._record.loaded_for(work))
        self._record.loaded(target, work, loaded)
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
        self._record.outbox.committed()

    def _before_pause(self, work: DayWork, error: Exception, pause: float) -> None:
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

    def _came_in_at_last(self, work: DayWork) -> bool:
        """Return whether a day is in whose last try failed, and record it."""
        if not work.ended:
            return False
        try:
            came_in = self._record.came_in(self._ends.open_target(), work)
        except (SyncError, psycopg2.Error):
            return False
        if came_in:
            self._ends.roll_back()
            self._record.succeed(work)
        return came_in

    def _left(self, work: DayWork, why: SyncError) -> DayResult:
        """Leave a day to others. Raises WorkerLostError again."""
        self._ends.roll_back()
        if isinstance(why, WorkerLostError):
            raise why  # the records are closed already, by whoever took it for lost
        if isinstance(why, DayDoneError):
            return self._record.skip(work)
        self._record.leave(work)
        self._breaker.tripped_by = why  # the days after it are cancelled too
        return self._record.result(work, one_line(why))

    def _failed(self, work: DayWork, error: BaseException) -> DayResult:
        self._ends.roll_back()
        text = one_line(error, *self._secrets)
        if not isinstance(error, Exception):
            text = CANCELLED
        elif not isinstance(error, (SyncError, psycopg2.Error)):
            self._logger.exception(
                "dataset %s, day %s: a bug, please report", self._dataset.name, work.day
            )
        self._record.fail(work, text)
        return self._record.result(work, text)
