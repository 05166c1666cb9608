"""The reconciler: compares records with what Dagster, the workers and the databases really are, and
makes them agree.

Hooks and sensors tell of what happens; this finds what nobody told: a worker that was killed with
everything around it, a run that Dagster believes at work, a batch that nobody works on, a day that
is in and was never told to Dagster. Each step may be done twice or late. It looks only at what is
open (workers, unfinished runs, open batches, untold days), never at history.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import dagster as dg
import psycopg2

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.orchestration.dagster import run_times
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
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor, Suspicion
from sync_pipeline.orchestration.recovery.late_results import enter_days, open_records_of_ended_runs
from sync_pipeline.orchestration.recovery.records import close_run
from sync_pipeline.orchestration.recovery.target import empty_outbox, end_sessions_of_run
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import connect_tracking
from sync_pipeline.tracking.models import Batch
from sync_pipeline.tracking.state import attempts, batches, corrections
from sync_pipeline.tracking.state.corrections import Correction
from sync_pipeline.tracking.worker import workers
from sync_pipeline.tracking.worker.workers import RegisteredWorker, Worker

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# A run is NOT_STARTED for a moment only; one whose maker was killed in it would stay so for good.
_BELIEVED_AT_WORK = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_OPEN_BACKFILL = [s for s in BulkActionStatus if s not in BULK_ACTION_TERMINAL_STATUSES]
_MAX_UNTOLD = 200  # a look
_STATEMENT_SECONDS = 30.0
_MAX_GAP_SECONDS = 15.0  # between two looks that belong together
_OFTEN_ENOUGH = 3  # looks further apart than that, after the first
_logger = logging.getLogger(__name__)


class Reconciler:
    """One look at everything. `corrections` are what it put right, in order; `errors`, one line
    each, are of the steps that failed, which keeps none of the others from its work.

    `memory` is what the look before left, and afterwards what the next one needs.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        settings: Settings,
        datasets: Sequence[Dataset],
        memory: ReconcilerCursor,
    ) -> None:
        self._instance = instance
        self._settings = settings
        self._datasets = datasets
        self._memory = memory
        self._before, memory.suspected = self._suspected_before(), {}
        self.corrections: list[Correction] = []
        self.errors: list[str] = []

    def look(self) -> list[Correction]:
        """Look once; return what was put right. Raises TrackingError or psycopg2.Error if the
        records are away."""
        connection = connect_tracking(
            self._settings, "reconcile", statement_timeout_seconds=_STATEMENT_SECONDS
        )
        with closing(connection):
            self._try(connection, self._enter_late)
            lost, at_work = self._judge_workers(connection)
            self._try(connection, partial(self._end_lost_workers, lost=lost))
            self._try(connection, partial(self._empty_outbox, at_work=at_work))
            self._try(connection, partial(self._end_runs_without_worker, at_work=at_work))
            self._try(connection, self._give_up_attempts)
            self._try(connection, self._close_batches)
            self._try(connection, self._tell_dagster)
        self._memory.looked_at = time.time()
        return self.corrections

    def _try(self, connection: "Connection", step: Callable[["Connection"], object]) -> None:
        """Do a step; if it fails, do without it, unless the records are away."""
        try:
            step(connection)
        except psycopg2.Error:
            raise  # the next would fail too
        except Exception as error:
            _logger.exception("a part of the comparison failed")
            self.errors.append(one_line(error))
            connection.rollback()

    def _suspected_before(self) -> dict[str, Suspicion]:
        """Return what was suspected, beginning anew if nobody has looked for a while since: a
        worker that could give no sign of life, as the records could not be written, needs time."""
        now, before = time.time(), self._memory.suspected
        longest = max(_MAX_GAP_SECONDS, self._settings.lost_after_seconds / 2)
        if now - (self._memory.looked_at or 0.0) < longest:
            return before
        return {run_id: Suspicion(now, found.renewed + 1) for run_id, found in before.items()}

    def _enter_late(self, connection: "Connection") -> None:
        """Enter what happened while the records were away, before anything is held for lost."""
        about = (connection, self._instance, self._datasets, self._memory)
        for correction in chain(enter_days(*about), open_records_of_ended_runs(*about)):
            self._correct(connection, correction)

    def _judge_workers(self, connection: "Connection") -> tuple[list[tuple[Worker, str]], set[str]]:
        """Return the workers that are gone, and why that is held, and the runs whose workers live.

        All of it is known before anything is done: a run is not to be ended because a step failed.
        """
        with connection, connection.cursor() as cursor:
            found = workers.registered_workers(cursor)
        judged = [(seen.worker, self._why_lost(seen)) for seen in found]
        lost = [(worker, why) for worker, why in judged if why is not None]
        return lost, {worker.run_id for worker, why in judged if why is None}

    def _end_lost_workers(
        self, connection: "Connection", lost: Sequence[tuple[Worker, str]]
    ) -> None:
        """End the runs of workers that are gone."""
        for worker, why in lost:
            with connection, connection.cursor() as cursor:
                # First of all: from here on it cannot commit, even if it wakes up.
                workers.deregister(cursor, worker)
            end_sessions_of_run(connection, self._settings, worker.run_id)
            self._empty_outbox(connection, of_run=worker.run_id)
            self._end_run(connection, worker.run_id, why)

    def _empty_outbox(
        self, connection: "Connection", *, of_run: str | None = None, at_work: Collection[str] = ()
    ) -> None:
        """Enter the days that are in and were not recorded, before they are held for failed."""
        about = (connection, self._instance, self._settings)
        for correction in empty_outbox(*about, of_run=of_run, at_work=at_work):
            self._correct(connection, correction)

    def _why_lost(self, seen: RegisteredWorker) -> str | None:
        run_id, silent = seen.worker.run_id, seen.silent_seconds
        if seen.is_dead(self._settings.lost_after_seconds / 2):
            return f"its process {seen.worker.pid} was killed or crashed"
        if silent <= self._settings.lost_after_seconds:
            return None
        # Silent may also mean that the records were away; it then has time for a sign of life.
        if not self._is_suspected_for(run_id, self._settings.lost_after_seconds / 2):
            return None
        return f"its process {seen.worker.pid} gave no sign of life for {silent:.0f} s"

    def _is_suspected_for(self, run_id: str, seconds: float) -> bool:
        """Suspect a run; return whether that has been so for long enough. Where looks are always
        far apart, as of a daemon with much to do, several in a row are."""
        now = time.time()
        found = self._memory.suspected[run_id] = self._before.get(run_id) or Suspicion(now)
        return now - found.since >= seconds or found.renewed >= _OFTEN_ENOUGH

    def _end_runs_without_worker(self, connection: "Connection", at_work: set[str]) -> None:
        """End runs of ours that Dagster believes at work, with no worker that could be."""
        records = self._instance.get_run_records(dg.RunsFilter(statuses=list(_BELIEVED_AT_WORK)))
        for record in records:
            run_id = record.dagster_run.run_id
            if run_id in at_work or not self._is_ours(record.dagster_run):
                continue
            if run_times.since(run_times.began(record)) < self._settings.lost_after_seconds:
                continue  # it is about to sign on
            if self._is_suspected_for(run_id, self._settings.lost_after_seconds):
                self._end_run(connection, run_id, "no process works for it")

    def _is_ours(self, run: dg.DagsterRun) -> bool:
        names = {dataset.name for dataset in self._datasets}
        jobs = {tags.BATCH_JOB_NAME, *(tags.job_name_of(name) for name in names)}
        keys = {dg.AssetKey(name) for name in names}
        selected = run.asset_selection
        return run.job_name in jobs or bool(selected and set(selected) <= keys)

    def _end_run(self, connection: "Connection", run_id: str, why: str) -> None:
        """End a run whose worker is gone, in Dagster and in the records."""
        run = self._instance.get_run_by_id(run_id)
        error = f"run {run_id} was lost: {why}"
        if run is not None and not run.is_finished:
            self._instance.report_run_failed(run, f"sync_pipeline: {error}")
            self._correct(connection, Correction("run ended as failed", why, run_id=run_id))
        with connection, connection.cursor() as cursor:
            if run is None:
                attempts.fail_open_attempts_of_run(cursor, run_id, error)
            else:
                close_run(cursor, self._instance, run, error)

    def _give_up_attempts(self, connection: "Connection") -> None:
        """Close attempts of runs that are over, which nobody closed."""
        with connection, connection.cursor() as cursor:
            found = attempts.runs_without_worker(cursor, self._settings.lost_after_seconds)
        for run_id in found:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                continue
            how = "is not known to Dagster" if run is None else f"ended {run.status.value}"
            with connection, connection.cursor() as cursor:
                attempts.fail_open_attempts_of_run(
                    cursor, run_id, f"run {run_id} {how} in the middle of the day"
                )
            self._correct(
                connection,
                Correction("attempts closed as failed", f"their run {how}", run_id=run_id),
            )

    def _close_batches(self, connection: "Connection") -> None:
        """Close open batches that no run is at work on, and none will be."""
        with connection, connection.cursor() as cursor:
            found = batches.open_batches(cursor)
            silent = batches.silent_batches(cursor, self._settings.lost_after_seconds)
        if not found:
            return
        # Asked after the records were: a batch has its run or its backfill before its record.
        alive = {*running_runs(self._instance), *self._keys_of_open_backfills()}
        for batch in found:
            why = None if batch.batch_key in alive else self._why_over(batch, batch in silent)
            if why is None:
                continue
            with connection, connection.cursor() as cursor:
                given_up = attempts.mark_days_not_run(cursor, batch.id, why)
                batches.refresh(cursor, batch.id)
            self._correct(
                connection,
                Correction(
                    f"batch closed, {given_up} of its days were not run",
                    why,
                    dataset=batch.dataset,
                    batch_key=batch.batch_key,
                ),
            )

    def _keys_of_open_backfills(self) -> set[str]:
        filters = BulkActionsFilter(statuses=_OPEN_BACKFILL)
        return {
            batch_key_of_backfill(backfill)
            for backfill in self._instance.get_backfills(filters=filters)
        }

    def _why_over(self, batch: Batch, silent: bool) -> str | None:
        """Say why nothing will come of what is open in `batch`; None if it is too soon to say."""
        backfill, run = latest_of_batch(self._instance, batch.batch_key)
        if backfill is not None and backfill.status is BulkActionStatus.CANCELED:
            return f"cancelled in Dagster: backfill {backfill.backfill_id}"
        if not silent:
            return None  # the sensors, which know more, are about to be called
        if backfill is not None:
            how = f"ended {backfill.status.value.lower()}"
            said = one_line(SyncError(backfill.error.message)) if backfill.error else ""
            return f"backfill {backfill.backfill_id} {how}{said and f': {said}'}"
        if run is None:
            return "no run works on it"
        return f"run {run.run_id} ended {run.status.value} before all of its days"

    def _tell_dagster(self, connection: "Connection") -> None:
        """Tell Dagster of days that are in and whose worker is gone without having told of them."""
        with connection, connection.cursor() as cursor:
            found = attempts.unreported(cursor, _MAX_UNTOLD)
        for day in found:
            if report_late(self._instance, self._settings, day):
                correction = Correction(
                    "Dagster was told of a day that is in",
                    "its worker ended before it could",
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
