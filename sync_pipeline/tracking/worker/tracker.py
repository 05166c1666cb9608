"""The tracker: how a worker records its days. An outage of the tables does not stop the sync.

What cannot be recorded because the tracking tables are unavailable is recorded in order when they
are available again. If they reject the record of a day, the day fails, so that no day is loaded and
remains unrecorded. A sync is stopped only if the records show that the worker must not continue:
SupersededError, DayDoneError, BatchCancelledError, WorkerLostError or WorkerOutdatedError. Does not
keep what could not be written: see `connection.py`.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.errors import RecordRejectedError, one_line
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import (
    Attempt,
    AttemptState,
    BatchSpec,
    DayOutcome,
    FailedAttempt,
    Recorded,
    SyncedDay,
)
from sync_pipeline.tracking.read import day_checks
from sync_pipeline.tracking.state import attempts, batches, invalidation, source_columns
from sync_pipeline.tracking.worker import connection
from sync_pipeline.tracking.worker.connection import TrackingConnection, Write
from sync_pipeline.tracking.worker.heartbeat import Heartbeat

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
        self._connection = TrackingConnection(settings, logger, run_id)

    def clone(self) -> "Tracker":
        """Return a tracker for another thread of the same run; see `transfer_pending_to`."""
        clone = Tracker(
            self._settings,
            run_id=self.run_id,
            triggered_by=self.triggered_by,
            heartbeat=self._heartbeat,
            logger=self._logger,
        )
        clone._connection.requested_at = self._connection.requested_at
        return clone

    def transfer_pending_to(self, other: "Tracker") -> None:
        """Move the pending writes to another tracker of the run; close the connection."""
        self._connection.transfer_pending_to(other._connection)

    @property
    def in_target(self) -> bool:
        """Whether a day's success can be recorded in the transaction that loads it, because the
        tracking tables are in the target database. False until both have been available."""
        return self._connection.in_target

    @property
    def has_pending(self) -> bool:
        """Whether anything is not recorded yet."""
        return self._connection.has_pending

    def open_batch(self, spec: BatchSpec) -> int | None:
        """Open or join a batch; return its ID, or None if the tables are unavailable."""
        return self._connection.batch_id(spec)

    def retry_batch(self, spec: BatchSpec, days: Sequence[date], before: datetime) -> None:
        """Reset to pending those of `days` that failed before the batch was requested again.

        `before` is the time of that request. If there are any such days, the batch's record is
        `syncing` afterwards.
        """
        by = replace(spec, run_id=self.run_id, triggered_by=self.triggered_by)

        def apply(cursor: "Cursor", batch_id: int | None, _: float) -> None:
            batches.retry_days(cursor, _known(batch_id), by, days, before)

        self._connection.write(Write(f"batch {spec.batch_key} retried", apply, spec))

    def batch_days(self, batch_key: str, dataset: str) -> dict[date, AttemptState]:
        """Return the state of each day of a batch; empty if the batch is not open yet or the tables
        are unavailable."""
        read = partial(batches.day_states, batch_key=batch_key, dataset=dataset)
        return self._connection.try_do(read) or {}

    def synced_days(self, dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
        """Return which of `days` are synced; empty if the tables are unavailable."""
        return self._connection.try_do(lambda c: attempts.synced_days(c, dataset, days)) or {}

    def loaded_days(self, dataset: str, days: Sequence[date]) -> dict[date, SyncedDay] | None:
        """Return which of `days` have rows in the target, even if a later attempt failed; None if
        the tables are unavailable."""
        return self._connection.try_do(lambda c: attempts.loaded_days(c, dataset, days))

    def skip(self, spec: BatchSpec, days: Sequence[date]) -> None:
        """Mark days of a batch as skipped."""

        def apply(cursor: "Cursor", batch_id: int | None, _: float) -> None:
            attempts.skip(cursor, _known(batch_id), days, self.run_id)

        what = f"batch {spec.batch_key}: {len(days)} days skipped"
        self._connection.write(Write(what, apply, spec))

    def begin(
        self,
        dataset: str,
        day: date,
        spec: BatchSpec | None,
        after: FailedAttempt | None = None,
        *,
        resync: bool = True,
    ) -> Attempt | None:
        """Start an attempt for a day whose lock the caller holds; return it, or None if the tables
        are unavailable.

        `after` is the worker's previous attempt for the day, which is closed as failed. Raises
        DayDoneError if the day was synced in this batch or, unless `resync`, at any time;
        BatchCancelledError if the batch was cancelled; RecordRejectedError if the tables reject the
        record; WorkerLostError if this worker was presumed dead, or WorkerOutdatedError if the
        tables no longer fit it.

        Does not wait until the commit is on disk: a day whose start is lost in a crash counts as
        not started.
        """
        batch_id = None if spec is None else self._connection.batch_id(spec)
        if batch_id is None and spec is not None:
            return None  # a day started without its batch would be missing from the batch
        beat = self._heartbeat
        begin = partial(
            attempts.begin,
            dataset=dataset,
            day=day,
            batch_id=batch_id,
            run_id=self.run_id,
            triggered_by=self.triggered_by,
            after=after,
            resync=resync,
            worker=beat.worker if beat is not None and beat.registered else None,
        )
        return self._connection.try_do(begin)

    def is_success(self, attempt: Attempt) -> bool:
        """Return whether `attempt` is recorded as a success, or False if this cannot be
        determined."""
        return bool(self._connection.try_do(lambda cursor: attempts.is_success(cursor, attempt)))

    def confirm(self, attempt: Attempt) -> None:
        """Check that `attempt` is still running, before its rows are committed in another database.

        Raises SupersededError if it was closed or a later attempt started. Does nothing if the
        tables are unavailable.
        """
        running = self._connection.try_do(lambda cursor: attempts.is_running(cursor, attempt))
        if running is False:
            raise attempts.superseded_error(attempt.dataset, attempt.day, attempt.number)

    def record_in(
        self, cursor: "Cursor", outcome: DayOutcome, batch_id: int | None, *, project: bool
    ) -> bool:
        """Record a day's success in the transaction that loads the day (`cursor`).

        Returns whether it was recorded; on an error that may pass, rolls back to a savepoint.
        Raises SupersededError if the attempt was closed or superseded, or RecordRejectedError if
        the tables reject the record; the caller then has to roll back the transaction.
        """
        try:
            # The commit that follows ends the savepoint.
            timeout = int(connection.LOCK_TIMEOUT_SECONDS * 1000)
            before = f"SAVEPOINT tracking; SET LOCAL lock_timeout = {timeout}; "
            attempts.record_outcome(
                cursor, outcome, batch_id, fence=True, project=project, before=before
            )
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            # A unique violation means that another session has just written the same row.
            permanent = isinstance(error, connection.REJECTIONS)
            if permanent and not isinstance(error, psycopg2.errors.UniqueViolation):
                raise connection.rejected_error(error) from error
            cursor.execute("ROLLBACK TO SAVEPOINT tracking")
            self._logger.warning(
                "dataset %s, day %s: could not record this day in its data transaction; "
                "will record it after the commit: %s",
                outcome.dataset,
                outcome.day,
                one_line(error),
            )
            return False
        return True

    def record(self, outcome: DayOutcome, *, at: float | None = None, project: bool = True) -> None:
        """Record how a day ended, even if its attempt was closed in the meantime. `at` is when it
        ended (`time.monotonic()`), by default now."""

        def apply(cursor: "Cursor", batch_id: int | None, ago: float) -> bool:
            recorded = attempts.record_outcome(
                cursor, outcome, batch_id, ended_ago=ago, project=project
            )
            return recorded is not Recorded.WAITING

        what = f"{outcome.day}: {outcome.state.value}"
        if outcome.error is not None:
            what = f"{what}: {outcome.error}"
        ended = time.monotonic() if at is None else at
        self._connection.write(Write(what, apply, outcome.batch, ended))

    def project(self, spec: BatchSpec) -> None:
        """Compute the batch's record from its days."""

        def apply(cursor: "Cursor", batch_id: int | None, _: float) -> None:
            batches.project(cursor, _known(batch_id))

        self._connection.write(Write(f"progress of batch {spec.batch_key}", apply, spec))

    def mark_not_run(self, spec: BatchSpec, days: Sequence[date], error: str) -> None:
        """Mark those of `days` that are unfinished in the batch as not run."""

        def apply(cursor: "Cursor", batch_id: int | None, _: float) -> None:
            # Days that another run of the batch has started are left to that run.
            batches.mark_not_run(cursor, _known(batch_id), error, days, run_id=self.run_id)

        what = f"batch {spec.batch_key}: days not run: {error}"
        self._connection.write(Write(what, apply, spec))

    def explain_interrupted(self, error: str, reason: str) -> None:
        """Record for this run's days that failed with `error` who or what interrupted them."""

        def apply(cursor: "Cursor", *_: object) -> None:
            if self.run_id is not None:
                attempts.explain_interrupted(cursor, self.run_id, error, reason)

        self._connection.write(Write(f"days interrupted: {reason}", apply))

    def mark_batch_not_run(self, batch_key: str, dataset: str, error: str) -> None:
        """Mark the unfinished days of a batch that this run started or planned as not run.

        Does nothing if `dataset` has no batch with this key.
        """

        def apply(cursor: "Cursor", *_: object) -> None:
            batch = batches.find_batch(cursor, batch_key, dataset)
            if batch is not None:
                batches.mark_not_run(cursor, batch.id, error, planned_by=self.run_id)

        self._connection.write(Write(f"batch {batch_key}: days not run: {error}", apply))

    def invalidate_days(self, dataset: str, table: str) -> None:
        """Record that the dataset's target table is missing, so its days no longer count as
        synced."""

        def apply(cursor: "Cursor", _: int | None, ago: float) -> None:
            # Days may have been loaded into a new table since.
            invalidation.invalidate_days(cursor, dataset, table, self.run_id, ago=ago)

        what = f"dataset {dataset}: target table {table} is missing"
        self._connection.write(Write(what, apply))

    def record_replay_in(self, cursor: "Cursor", day: SyncedDay, kept: int) -> None:
        """Record in the caller's transaction that `kept` rows of a day are still quarantined."""
        attempts.record_replay(cursor, day, kept)

    def record_replay(self, dataset: str, day: SyncedDay, kept: int) -> None:
        """Record that `kept` rows of a day are still quarantined, once the others are committed."""

        def apply(cursor: "Cursor", *_: object) -> None:
            attempts.record_replay(cursor, day, kept)

        what = f"dataset {dataset}, record {day.record_id}: rows replayed"
        self._connection.write(Write(what, apply))

    def source_columns(self, dataset: str) -> dict[str, str] | None:
        """Return the types of the source's columns, by name, as they were when it was last opened;
        None if it was never opened or the tables are unavailable."""
        return self._connection.try_do(lambda c: source_columns.last_seen(c, dataset))

    def remember_columns(
        self, dataset: str, columns: Mapping[str, str], changes: Sequence[str]
    ) -> None:
        """Record a source's columns, and the resulting `changes` to the target table."""

        def apply(cursor: "Cursor", *_: object) -> None:
            source_columns.remember(cursor, dataset, columns, changes, self.run_id)

        self._connection.write(Write(f"dataset {dataset}: source columns changed", apply))

    def rows_of_days(self, dataset: str, first: date, last: date) -> dict[date, int] | None:
        """Return how many rows the target has for each loaded day from `first` to `last`; None if
        the tables are unavailable."""
        return self._connection.try_do(
            lambda cursor: day_checks.rows_of_days(cursor, dataset, first, last)
        )

    def mark_reported(self, reported: Sequence[Attempt]) -> None:
        """Record that these attempts' successes were reported to Dagster."""
        if reported:
            ids = [attempt.id for attempt in reported]
            with suppress(RecordRejectedError):  # the reconciler reports and marks them again
                self._connection.try_do(lambda cursor: attempts.mark_reported(cursor, ids))

    def close(self) -> None:
        """Write what is pending (waiting a few seconds if the tables are unavailable) and close the
        connection. Using the tracker again opens a new one."""
        self._connection.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _known(batch_id: int | None) -> int:
    assert batch_id is not None, "TrackingConnection opens the batch first"  # noqa: S101
    return batch_id
