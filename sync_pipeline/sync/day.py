"""`DaySync`: sync one day, and record how it ended.

A day's rows are replaced and recorded in one transaction, so the rows and their record become
visible together or not at all. If the records are in another database, they are written after the
commit, and the outbox keeps the outcome until then. If a day fails, its existing rows remain. After
a transient error the day is retried; each retry is a separate attempt. Does not choose the days:
see `days.py`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import psycopg2

from sync_pipeline.errors import (
    BatchCancelledError,
    DayDoneError,
    DayNotEmptyError,
    SyncError,
    WorkerLostError,
    WorkerOutdatedError,
    one_line,
)
from sync_pipeline.retry import retry
from sync_pipeline.sync.connections import StoppedError, WorkerConnections
from sync_pipeline.sync.result import DayResult, Outcome
from sync_pipeline.targets.postgres import Target
from sync_pipeline.targets.quarantine import LoadContext
from sync_pipeline.tracking.models import (
    NO_ROWS,
    Attempt,
    AttemptState,
    DayCounts,
    DayOutcome,
    FailedAttempt,
)

CANCELLED = "cancelled while running; the day was rolled back"
"""The error of a day that is interrupted, until it is known who or what interrupted the run."""
_REASONS_TO_STOP = (WorkerLostError, WorkerOutdatedError)
_REASONS_TO_LEAVE = (DayDoneError, BatchCancelledError, *_REASONS_TO_STOP)


class DaySync:
    """The sync of one day by one worker. If `is_due` returns true when its rows are loaded, its
    success also updates the batch's record; a failure always does."""

    def __init__(
        self, worker: WorkerConnections, day: date, *, is_due: Callable[[], bool] = lambda: False
    ) -> None:
        self._worker = worker
        self._job = worker.job
        self._tracker = worker.tracker
        self._day = day
        self._is_due = is_due
        self._project = False  # whether the success also updates the batch's record
        self._started = time.monotonic()
        self._locked = False  # whether the day's lock has been acquired
        self._attempt: Attempt | None = None
        self._failed_attempt: FailedAttempt | None = None  # the previous attempt, which failed
        self._outcome: DayOutcome | None = None  # once the rows are loaded
        self._warning: str | None = None  # what is unusual about the rows
        self._ended = 0.0  # when the commit started
        self._committing = False
        self._recorded = False  # whether the transaction that loads the rows records the success

    def run(self) -> DayResult:
        """Sync the day and record it. A failure is returned, not raised.

        A day that another worker has synced in the meantime is skipped if it is done in this batch
        or if synced days are skipped. Raises WorkerLostError or WorkerOutdatedError if this worker
        must stop.
        """
        try:
            retry(self._load, self._job.dataset.retry, self._before_backoff, self._worker.sleep)
            self._succeed()
        except _REASONS_TO_LEAVE as error:
            return self._leave(error)
        except Exception as error:
            if self._worker.stopped:
                return self._fail(StoppedError())
            if not self._was_committed():
                self._job.breaker.day_failed(error, *self._job.secrets)
                return self._fail(error)
        except StoppedError as error:
            return self._fail(error)
        except BaseException as error:
            if self._committing and self._worker.is_idle:  # interrupted after the commit
                self._succeed()
            else:
                self._fail(error)
            raise
        self._job.breaker.day_succeeded()
        return self._result()

    def fail(self, error: SyncError) -> DayResult:
        """Record an attempt that failed with `error` before any row was loaded."""
        try:
            self._worker.target().begin_day(self._day)
            self._locked = True
            self._begin()
        except _REASONS_TO_LEAVE as reason:
            return self._leave(reason)
        except (SyncError, psycopg2.Error):
            self._job.logger.debug("another worker may be syncing the day; its record is unchanged")
        return self._fail(error)

    def _load(self) -> None:
        """Try once to load the day, in one transaction that begins by acquiring the lock."""
        worker = self._worker
        target = worker.target()
        target.begin_day(self._day)
        self._locked = True
        if self._is_committed(target):
            worker.roll_back()
            return
        with target.read_ahead(self._day, worker.source) as reader:
            self._begin()  # while the source already reads
            batch_id = self._attempt.batch_id if self._attempt else None
            loaded = target.load_day(reader, LoadContext(batch_id, self._tracker.run_id))
        self._warning = self._job.volume.check(self._day, loaded.rows_read)
        self._record_loaded(
            target,
            DayCounts(loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected, loaded.bytes),
        )
        if worker.stopped:
            raise StoppedError
        # Set this before the commit, which releases the lock for other workers.
        self._ended = time.monotonic()
        self._committing = True
        try:
            target.commit(self._day)
        except SyncError:
            self._committing = False
            raise
        worker.outbox.mark_committed()

    def _begin(self) -> None:
        """Begin an attempt. Raises DayDoneError if the day is already synced, BatchCancelledError
        if the batch was cancelled, and WorkerLostError or WorkerOutdatedError if this worker must
        stop."""
        self._ended = 0.0
        attempt = self._tracker.begin(
            self._job.dataset.name,
            self._day,
            self._job.batch,
            self._failed_attempt,
            resync=self._job.resync,
        )
        if attempt is not None or self._tracker.in_target:
            # If the tracking tables are unavailable, continue the previous attempt.
            self._attempt = attempt or self._attempt
            return
        # Another worker may have synced the day in the meantime, so close the previous attempt. Its
        # failure cannot be kept in the outbox, because that would commit, and release the lock.
        self._fail_previous_attempt(keep=False)
        self._attempt, self._failed_attempt, self._started = None, None, time.monotonic()

    def _record_loaded(self, target: Target, counts: DayCounts) -> None:
        """Record the success in the transaction that loads the rows. If that is not possible, check
        that the attempt has not been superseded and add the outcome to the outbox."""
        self._outcome = outcome = self._ended_with(AttemptState.SUCCESS, counts)
        self._recorded = False
        self._project = self._is_due()
        with target.connection.cursor() as cursor:
            if self._attempt is not None and self._tracker.in_target:
                self._recorded = self._tracker.record_in(
                    cursor, outcome, self._attempt.batch_id, project=self._project
                )
            elif self._attempt is not None:
                self._tracker.confirm(self._attempt)
            if not self._recorded:
                self._worker.outbox.add(cursor, outcome)

    def _is_committed(self, target: Target) -> bool:
        """Return whether the day was committed even though the commit raised an error, as happens
        if the server's response is lost."""
        if not self._ended:
            return False
        if self._recorded and self._attempt is not None:
            committed = self._tracker.is_success(self._attempt)
        else:
            with target.connection.cursor() as cursor:
                committed = self._worker.outbox.latest_was_committed(cursor)
        if committed:
            self._worker.outbox.mark_committed()
        return committed

    def _was_committed(self) -> bool:
        """Return whether the day was committed even though its last attempt raised an error; if so,
        record it as a success."""
        if not self._ended:
            return False
        try:
            committed = self._is_committed(self._worker.target())
        except (SyncError, psycopg2.Error):
            return False
        if committed:
            self._worker.roll_back()
            self._succeed()
        return committed

    def _before_backoff(self, error: Exception, backoff: float) -> None:
        """Release the day's lock. The attempt remains open until the next one begins."""
        self._worker.roll_back()
        if self._attempt is not None:
            text = one_line(error, *self._job.secrets)
            self._failed_attempt = FailedAttempt(self._attempt, text)
        self._job.log_retry(f"day {self._day}", error, backoff)

    def _succeed(self) -> None:
        """Record the committed day as a success, unless its transaction already did so."""
        assert self._outcome is not None  # noqa: S101  it was loaded
        if not self._recorded:
            self._tracker.record(self._outcome, at=self._ended, project=self._project)
        if not self._tracker.has_pending:
            self._worker.outbox.mark_recorded()

    def _leave(self, reason: SyncError) -> DayResult:
        """Return the result for a day that is not loaded because of `reason`; raise `reason`
        instead if this worker must stop, because then it can record nothing more."""
        self._worker.roll_back()
        if isinstance(reason, _REASONS_TO_STOP):
            raise reason
        self._fail_previous_attempt()
        if isinstance(reason, DayDoneError):
            return self._skip()
        self._job.breaker.tripped_by = reason  # the remaining days are cancelled too
        return self._result(one_line(reason))

    def _skip(self) -> DayResult:
        """Record that the day was skipped because another worker synced it; return the result."""
        if self._job.batch is not None:
            self._tracker.skip(self._job.batch, [self._day])
        synced = self._tracker.synced_days(self._job.dataset.name, [self._day]).get(self._day)
        seconds = time.monotonic() - self._started
        return DayResult(self._day, Outcome.SKIPPED, seconds, synced=synced)

    def _fail(self, error: BaseException) -> DayResult:
        """Record that the day failed, possibly because its lock could not be acquired."""
        self._worker.roll_back()
        text = one_line(error, *self._job.secrets)
        if not isinstance(error, Exception):
            text = CANCELLED
        elif not isinstance(error, (SyncError, psycopg2.Error)):
            self._job.logger.exception(
                "dataset %s, day %s: unexpected error; please report this bug",
                self._job.dataset.name,
                self._day,
            )
        self._record_failure(text, refused=isinstance(error, DayNotEmptyError))
        return self._result(text)

    def _fail_previous_attempt(self, *, keep: bool = True) -> None:
        """Record the failure of the previous attempt, if there was one."""
        if self._failed_attempt is not None:
            self._record_failure(self._failed_attempt.error, keep=keep)

    def _record_failure(self, error: str, *, keep: bool = True, refused: bool = False) -> None:
        """Record a failure; if that is not possible now and `keep` is true, use the outbox."""
        outcome = self._ended_with(AttemptState.FAILED, NO_ROWS, error)
        outcome = replace(outcome, refused=refused)
        if not self._locked:
            outcome = replace(outcome, seconds=None)  # it could not start
        try:
            self._tracker.record(outcome)
        finally:
            if not self._tracker.has_pending:
                self._worker.outbox.mark_recorded()
            elif keep:
                self._worker.add_to_outbox(outcome)

    def _ended_with(
        self, state: AttemptState, counts: DayCounts, error: str | None = None
    ) -> DayOutcome:
        return DayOutcome(
            dataset=self._job.dataset.name,
            day=self._day,
            state=state,
            run_id=self._tracker.run_id,
            triggered_by=self._tracker.triggered_by,
            batch=self._job.batch,
            attempt_id=self._attempt.id if self._attempt else None,
            number=self._attempt.number if self._attempt else None,
            seconds=time.monotonic() - self._started,
            counts=counts,
            error=error,
            warning=self._warning if error is None else None,
        )

    def _result(self, error: str | None = None) -> DayResult:
        """Return the result of an attempted day: a failure if `error` is given."""
        counts = self._outcome.counts if self._outcome and error is None else None
        return DayResult(
            self._day,
            Outcome.SUCCESS if error is None else Outcome.FAILED,
            time.monotonic() - self._started,
            counts,
            error,
            self._attempt,
            warning=self._warning if error is None else None,
        )
