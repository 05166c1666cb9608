"""`DayWorker`: sync one day after another with one source, target and tracker.

A day's rows are replaced and recorded in one transaction, so the rows and their record become
visible together or not at all. If the records are in another database, they are written after the
commit, and the outbox keeps the day until then. If a day fails, its existing rows remain. After a
transient error the day is retried; each retry is a separate attempt. Does not choose the days: see
`days.py`.
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
from sync_pipeline.retry import retry
from sync_pipeline.settings import Settings, secrets_of
from sync_pipeline.sync.circuit_breaker import CircuitBreaker
from sync_pipeline.sync.connections import WorkerConnections
from sync_pipeline.sync.record import DayRecord, DaySync
from sync_pipeline.sync.result import DayResult
from sync_pipeline.tracking.models import FailedAttempt, NewBatch
from sync_pipeline.tracking.worker.tracker import Tracker

CANCELLED = "cancelled while running; the day was rolled back"


class _Stopped(BaseException):
    """Raised in the worker's thread after `stop` was called."""


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
        self._connections = WorkerConnections(dataset, settings, tracker, logger)
        self._record = DayRecord(dataset, tracker, batch, logger, resync=resync)
        self._secrets = secrets_of(settings.database_url)
        self._breaker = breaker or CircuitBreaker(dataset)
        self._stop = threading.Event()

    def clone(self) -> "DayWorker":
        """Return a worker for another thread, with its own connections. Close it with
        `transfer_pending_to`."""
        tracker = self._tracker.clone()
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
        """The reason not to run the remaining days, or None."""
        return self._breaker.tripped_by

    def transfer_pending_to(self, to: "DayWorker") -> None:
        """Close this worker and transfer its pending writes to another worker in the same run."""
        self.close()
        self._tracker.transfer_pending_to(to._tracker)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Interrupt the worker from another thread. The day in progress, if any, is rolled back and
        recorded as cancelled."""
        self._stop.set()
        self._connections.interrupt()

    def try_open(self) -> bool:
        """Open the target and source. If that fails, log the reason and return False."""
        try:
            self.open_target()
            self.open_source(wait=False)
        except SyncError as error:
            self._logger.warning(
                "dataset %s: running fewer workers than parallel_days; one could not start: %s",
                self._dataset.name,
                one_line(error, *self._secrets),
            )
            self._connections.close()  # also releases the slot
            return False
        return True

    def open_target(self) -> None:
        """Connect to the target, using the dataset's retry policy. Raises SyncError."""
        self._retry(self._connections.open_target, partial(self._log_retry, "target"))

    def open_source(self, *, wait: bool = True) -> None:
        """Open the source and prepare the target table, using the dataset's retry policy. Raises
        SyncError, including when all source slots are in use and `wait` is false."""
        self._secrets += self._settings.secrets_in(self._dataset.source.secret_settings)
        open_source = partial(self._connections.open_source, self._sleep if wait else None)
        self._retry(open_source, partial(self._log_retry, "source"))

    def sync_day(self, day: date, *, refresh: bool) -> DayResult:
        """Sync one day and record it. A failure is returned, not raised.

        A day that another worker has synced in the meantime is skipped if it is done in this batch
        or if `resync` is false.
        """
        sync = DaySync(day, refresh, time.monotonic())
        try:
            self._retry(partial(self._load, sync), partial(self._before_backoff, sync))
            self._record.succeed(sync)
        except (DayDoneError, BatchCancelledError, WorkerLostError) as error:
            return self._leave(sync, error)
        except Exception as error:
            if self.stopped:
                return self._fail(sync, _Stopped())
            if not self._was_committed(sync):
                self._breaker.day_failed(error, *self._secrets)
                return self._fail(sync, error)
        except _Stopped as error:
            return self._fail(sync, error)
        except BaseException as error:
            if sync.committing and self._connections.is_idle:  # interrupted after the commit
                self._record.succeed(sync)
            else:
                self._fail(sync, error)
            raise
        self._breaker.day_succeeded()
        return self._record.result(sync)

    def fail_day(self, day: date, error: SyncError) -> DayResult:
        """Record an attempt for `day` that failed with `error` before any row was loaded."""
        sync = DaySync(day, refresh=True, since=time.monotonic())
        try:
            self._connections.open_target().begin_day(day)
            sync.locked = True
            self._record.begin(sync)
        except (DayDoneError, BatchCancelledError, WorkerLostError) as reason:
            return self._leave(sync, reason)
        except (SyncError, psycopg2.Error):
            self._logger.debug("another worker may be syncing the day; its record is not changed")
        return self._fail(sync, error)

    def mark_not_run(self, days: Sequence[date], error: SyncError) -> None:
        """Record that `days` were not run."""
        if self._batch is not None and days:
            self._tracker.mark_not_run(self._batch, days, one_line(error, *self._secrets))

    def close(self) -> None:
        """Close the source and target. Uncommitted rows are rolled back."""
        self._connections.clear_outbox(self._record.outbox)
        self._connections.close()

    def _retry(
        self, work: Callable[[], object], before_backoff: Callable[[Exception, float], object]
    ) -> None:
        retry(work, self._dataset.retry, before_backoff, self._sleep)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _load(self, sync: DaySync) -> None:
        """Try once to load the day, in one transaction that begins by acquiring the lock."""
        target = self._connections.open_target()
        target.begin_day(sync.day)
        sync.locked = True
        if self._record.is_committed(target, sync):
            self._connections.roll_back()
            return
        # Begin the attempt before reading anything, so that an interrupt finds an open attempt.
        self._record.begin(sync)
        with target.read_ahead(sync.day, self._connections.source) as reader:
            loaded = target.load_day(reader, self._record.load_context(sync))
        self._record.record_loaded(target, sync, loaded)
        if self.stopped:
            raise _Stopped
        # Set this before the commit, which releases the lock for other workers.
        sync.ended = time.monotonic()
        sync.committing = True
        try:
            target.commit(sync.day)
        except SyncError:
            sync.committing = False
            raise
        self._record.outbox.mark_committed()

    def _before_backoff(self, sync: DaySync, error: Exception, backoff: float) -> None:
        """Release the day's lock. The attempt remains open until the next one begins."""
        self._connections.roll_back()
        if sync.attempt is not None:
            sync.failed_attempt = FailedAttempt(sync.attempt, one_line(error, *self._secrets))
        self._log_retry(f"day {sync.day}", error, backoff)

    def _log_retry(self, what: str, error: Exception, backoff: float) -> None:
        self._logger.warning(
            "dataset %s, %s: retrying in %.1f s: %s",
            self._dataset.name,
            what,
            backoff,
            one_line(error, *self._secrets),
        )

    def _was_committed(self, sync: DaySync) -> bool:
        """Return whether the day was committed even though its last attempt raised an error; if so,
        record it as a success."""
        if not sync.ended:
            return False
        try:
            committed = self._record.is_committed(self._connections.open_target(), sync)
        except (SyncError, psycopg2.Error):
            return False
        if committed:
            self._connections.roll_back()
            self._record.succeed(sync)
        return committed

    def _leave(self, sync: DaySync, reason: SyncError) -> DayResult:
        """Return the result for a day that is not loaded because of `reason`; raise `reason`
        instead if it is a WorkerLostError."""
        self._connections.roll_back()
        if isinstance(reason, WorkerLostError):
            raise reason  # the worker's records were closed when it was declared lost
        if isinstance(reason, DayDoneError):
            return self._record.skip(sync)
        self._record.fail_previous_attempt(sync)
        self._breaker.tripped_by = reason  # the remaining days are cancelled too
        return self._record.result(sync, one_line(reason))

    def _fail(self, sync: DaySync, error: BaseException) -> DayResult:
        self._connections.roll_back()
        text = one_line(error, *self._secrets)
        if not isinstance(error, Exception):
            text = CANCELLED
        elif not isinstance(error, (SyncError, psycopg2.Error)):
            self._logger.exception(
                "dataset %s, day %s: unexpected error; please report this bug",
                self._dataset.name,
                sync.day,
            )
        self._record.fail(sync, text)
        return self._record.result(sync, text)
