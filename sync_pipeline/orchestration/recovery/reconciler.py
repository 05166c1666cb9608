"""The reconciler: compares records with Dagster, workers and databases, and corrects them.

Hooks and sensors react to events. The reconciler finds problems that caused no event: a worker
that was killed, a run that Dagster shows as running although it is not, a batch without a run, a
synced day that was never reported to Dagster. Every step is idempotent and may run late. Steps read
only open items (workers, unfinished runs, open batches, unreported days), never history. Does not
decide whether a worker is lost (see `lost_workers.py`), and does not contain the individual
corrections: see `after_outage.py`, `records.py` and `target_cleanup.py`.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import psycopg2

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.orchestration.dagster import run_creation, run_times
from sync_pipeline.orchestration.dagster.batch_key import (
    batch_key_of_backfill,
    latest_of_batch,
    running_runs,
)
from sync_pipeline.orchestration.dagster.internals import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)
from sync_pipeline.orchestration.dagster.materializations import report_late
from sync_pipeline.orchestration.recovery.after_outage import open_records_of_ended_runs
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.lost_workers import Suspicions
from sync_pipeline.orchestration.recovery.records import close_run
from sync_pipeline.orchestration.recovery.target_cleanup import (
    process_outbox,
    terminate_sessions_of_run,
)
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import connect_tracking
from sync_pipeline.tracking.models import Batch
from sync_pipeline.tracking.state import attempts, batches, corrections
from sync_pipeline.tracking.state.corrections import Correction
from sync_pipeline.tracking.worker import workers
from sync_pipeline.tracking.worker.workers import Worker

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# A run is NOT_STARTED while it is being created, and remains so if its creator was killed.
_RUNNING_STATUSES = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_OPEN_BACKFILL_STATUSES = [s for s in BulkActionStatus if s not in BULK_ACTION_TERMINAL_STATUSES]
_MAX_UNREPORTED = 200  # per run of the reconciler
_STATEMENT_SECONDS = 30.0
_logger = logging.getLogger(__name__)


class Reconciler:
    """One run of the reconciler.

    `corrections` lists what was corrected, in order, and `errors` has one line for each failed
    step; the other steps still run. `state` comes from the previous run and is updated for the next
    one.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        settings: Settings,
        datasets: Sequence[Dataset],
        state: ReconcilerCursor,
    ) -> None:
        self._instance = instance
        self._settings = settings
        self._datasets = datasets
        self._state = state
        self._suspicions = Suspicions(settings.lost_after_seconds, state)
        self.corrections: list[Correction] = []
        self.errors: list[str] = []

    def run_once(self) -> list[Correction]:
        """Compare and correct everything once; return the corrections.

        Raises TrackingError or psycopg2.Error if the tracking tables are unavailable.
        """
        connection = connect_tracking(
            self._settings, "reconcile", statement_timeout_seconds=_STATEMENT_SECONDS
        )
        with closing(connection):
            lost, running = self._check_workers(connection)
            self._try(connection, partial(self._fail_lost_workers, lost=lost))
            self._try(connection, partial(self._process_outbox, running=running))
            self._try(connection, self._open_records_of_ended_runs)
            self._try(connection, partial(self._fail_runs_without_worker, running=running))
            self._try(connection, self._close_abandoned_attempts)
            self._try(connection, self._close_abandoned_batches)
            self._try(connection, self._report_days)
        self._state.last_run_at = time.time()
        return self.corrections

    def _try(self, connection: "Connection", step: Callable[["Connection"], object]) -> None:
        """Run a step; log an error and continue, unless the tracking tables are unavailable."""
        try:
            step(connection)
        except psycopg2.Error:
            raise  # the next step would fail, too
        except Exception as error:
            _logger.exception("a reconciler step failed")
            self.errors.append(one_line(error))
            connection.rollback()

    def _open_records_of_ended_runs(self, connection: "Connection") -> None:
        """Open the records of batches whose runs ended while the tables were unavailable, once the
        outcomes of their days are recorded."""
        arguments = (connection, self._instance, self._datasets, self._state)
        for correction in open_records_of_ended_runs(*arguments):
            self._correct(connection, correction)

    def _check_workers(self, connection: "Connection") -> tuple[list[tuple[Worker, str]], set[str]]:
        """Return the lost workers, each with the reason, and the runs whose workers are alive.

        Both are determined before anything is changed, so that a failed step cannot cause a live
        worker's run to be marked as failed.
        """
        with connection, connection.cursor() as cursor:
            found = workers.registered_workers(cursor)
        checked = [(one.worker, self._suspicions.why_lost(one)) for one in found]
        lost = [(worker, why) for worker, why in checked if why is not None]
        return lost, {worker.run_id for worker, why in checked if why is None}

    def _fail_lost_workers(
        self, connection: "Connection", lost: Sequence[tuple[Worker, str]]
    ) -> None:
        """Mark the runs of lost workers as failed."""
        for worker, why in lost:
            with connection, connection.cursor() as cursor:
                # Do this first: a deregistered worker cannot commit, even if it is still running.
                workers.deregister(cursor, worker)
            terminate_sessions_of_run(connection, self._settings, worker.run_id)
            self._process_outbox(connection, of_run=worker.run_id)
            self._fail_run(connection, worker.run_id, why)

    def _process_outbox(
        self, connection: "Connection", *, of_run: str | None = None, running: Collection[str] = ()
    ) -> None:
        """Record the committed days that the outbox lists, before their attempts are closed."""
        arguments = (connection, self._instance, self._settings)
        for correction in process_outbox(*arguments, of_run=of_run, running=running):
            self._correct(connection, correction)

    def _fail_runs_without_worker(self, connection: "Connection", running: set[str]) -> None:
        """Mark runs as failed if Dagster shows them as running but they have no worker."""
        records = self._instance.get_run_records(dg.RunsFilter(statuses=list(_RUNNING_STATUSES)))
        for record in records:
            run_id = record.dagster_run.run_id
            if run_id in running or not self._syncs_datasets(record.dagster_run):
                continue
            age = run_times.seconds_since(run_times.start_time(record))
            if age < self._settings.lost_after_seconds:
                continue  # its worker may be about to register
            if self._is_suspected(record.dagster_run):
                self._fail_run(connection, run_id, "it has no process")

    def _is_suspected(self, run: dg.DagsterRun) -> bool:
        """Return whether a run without a worker has been suspected for long enough."""
        seconds = self._settings.lost_after_seconds + run_creation.seconds_between_events(run)
        last_event = run_creation.last_event(self._instance, run)
        return self._suspicions.is_suspected_for(run.run_id, seconds, last_event=last_event)

    def _syncs_datasets(self, run: dg.DagsterRun) -> bool:
        names = {dataset.name for dataset in self._datasets}
        jobs = {tags.BATCH_JOB_NAME, *(tags.job_name_of(name) for name in names)}
        keys = {dg.AssetKey(name) for name in names}
        selected = run.asset_selection
        return run.job_name in jobs or bool(selected and set(selected) <= keys)

    def _fail_run(self, connection: "Connection", run_id: str, why: str) -> None:
        """Mark a lost run as failed, in Dagster and in the records."""
        run = self._instance.get_run_by_id(run_id)
        error = f"run {run_id} was lost: {why}"
        if run is not None and not run.is_finished:
            self._instance.report_run_failed(run, f"sync_pipeline: {error}")
            self._correct(connection, Correction("marked a run as failed", why, run_id=run_id))
        with connection, connection.cursor() as cursor:
            if run is None:
                attempts.fail_run(cursor, run_id, error)
            else:
                close_run(cursor, self._instance, run, error)

    def _close_abandoned_attempts(self, connection: "Connection") -> None:
        """Close attempts that are still marked as running although their runs have ended."""
        with connection, connection.cursor() as cursor:
            found = attempts.runs_without_worker(cursor, self._settings.lost_after_seconds)
        for run_id in found:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                continue
            how = (
                "does not exist in Dagster"
                if run is None
                else f"ended with status {run.status.value}"
            )
            with connection, connection.cursor() as cursor:
                attempts.fail_run(cursor, run_id, f"run {run_id} {how} before the day was finished")
            self._correct(
                connection,
                Correction("closed attempts as failed", f"their run {how}", run_id=run_id),
            )

    def _close_abandoned_batches(self, connection: "Connection") -> None:
        """Close open batches that have no run and will not get one."""
        with connection, connection.cursor() as cursor:
            found = batches.open_batches(cursor)
            silent = batches.silent_batches(cursor, self._settings.lost_after_seconds)
        if not found:
            return
        # Read after the records, because a batch's run or backfill is created before its record.
        alive = {*running_runs(self._instance), *self._keys_of_open_backfills()}
        for batch in found:
            why = None if batch.batch_key in alive else self._why_abandoned(batch, batch in silent)
            if why is None:
                continue
            with connection, connection.cursor() as cursor:
                not_run = batches.mark_not_run(cursor, batch.id, why)
            self._correct(
                connection,
                Correction(
                    f"closed a batch with {not_run} days that were not run",
                    why,
                    dataset=batch.dataset,
                    batch_key=batch.batch_key,
                ),
            )

    def _keys_of_open_backfills(self) -> set[str]:
        filters = BulkActionsFilter(statuses=_OPEN_BACKFILL_STATUSES)
        return {
            batch_key_of_backfill(backfill)
            for backfill in self._instance.get_backfills(filters=filters)
        }

    def _why_abandoned(self, batch: Batch, silent: bool) -> str | None:
        """Return why the open days of `batch` will not be synced, or None if that is not certain
        yet."""
        backfill, run = latest_of_batch(self._instance, batch.batch_key)
        if backfill is not None and backfill.status is BulkActionStatus.CANCELED:
            return f"cancelled in Dagster: backfill {backfill.backfill_id}"
        if not silent:
            return None  # a sensor that has more details is about to close the batch
        if backfill is not None:
            how = f"ended with status {backfill.status.value}"
            reason = one_line(SyncError(backfill.error.message)) if backfill.error else ""
            return f"backfill {backfill.backfill_id} {how}{reason and f': {reason}'}"
        if run is None:
            return "it has no run"
        status = run.status.value
        return f"run {run.run_id} ended with status {status} before all of its days were synced"

    def _report_days(self, connection: "Connection") -> None:
        """Report to Dagster the synced days whose workers ended before reporting them."""
        with connection, connection.cursor() as cursor:
            found = attempts.unreported(cursor, _MAX_UNREPORTED)
        for day in found:
            if report_late(self._instance, self._settings, day):
                correction = Correction(
                    "reported a synced day to Dagster",
                    "its worker ended before reporting it",
                    dataset=day.dataset,
                    sync_date=day.day,
                    run_id=day.run_id,
                )
                self._correct(connection, correction)
            with connection, connection.cursor() as cursor:
                attempts.mark_reported(cursor, [day.attempt_id])

    def _correct(self, connection: "Connection", correction: Correction) -> None:
        with connection, connection.cursor() as cursor:
            corrections.write(cursor, correction)
        self.corrections.append(correction)
