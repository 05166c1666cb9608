"""`sync_days`: sync many days of a dataset, skip those that are done, and stop early if necessary.

A failed day does not stop the days after it; an unreachable source or target does. Does not sync
individual days: see `day.py`. Does not import dagster.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from functools import partial

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.settings import Settings
from sync_pipeline.sync.circuit_breaker import CircuitBreaker
from sync_pipeline.sync.connections import SyncJob, WorkerConnections
from sync_pipeline.sync.day import DaySync
from sync_pipeline.sync.pool import WorkerPool
from sync_pipeline.sync.result import DayResult as DayResult
from sync_pipeline.sync.result import Outcome as Outcome
from sync_pipeline.sync.volume import BASELINE_DAYS, VolumeCheck
from sync_pipeline.tracking.models import AttemptState, BatchSpec
from sync_pipeline.tracking.progress_interval import ProgressInterval
from sync_pipeline.tracking.worker.tracker import Tracker

_DONE = (AttemptState.SUCCESS, AttemptState.SKIPPED)
_logger = logging.getLogger(__name__)


def sync_days(
    dataset: Dataset,
    days: Sequence[date],
    *,
    settings: Settings,
    tracker: Tracker,
    batch: BatchSpec | None = None,
    resync: bool = True,
    logger: logging.Logger = _logger,
) -> Iterator[DayResult]:
    """Sync `days` in order; yield each day's result as soon as it is known.

    Days already done in `batch` (which this call may continue) are skipped and keep their records.
    If `resync` is false, other synced days are skipped too. Both conditions are checked again while
    the day's lock is held. If the target table is missing, the records are corrected first, and no
    day counts as synced. `logger` receives a warning for each retry.

    Raises SyncError if the source or target cannot be used, after recording the remaining days as
    not run. Raises WorkerLostError if this worker was declared lost. If the caller is
    interrupted or closes the generator, the day in progress is rolled back and recorded as failed.
    """
    days = sorted(set(days))
    breaker, volume = CircuitBreaker(dataset), VolumeCheck(dataset)
    job = SyncJob(dataset, settings, batch, resync, breaker, volume, logger)
    with closing(WorkerConnections(job, tracker)) as worker:
        _open_target(worker, days)
        states = {} if batch is None else tracker.batch_days(batch.batch_key, batch.dataset)
        done = {day for day in days if states.get(day) in _DONE}
        synced = tracker.synced_days(dataset.name, days) if done or not resync else {}
        skipped = [] if resync else [day for day in days if day in synced and day not in done]
        if skipped and batch is not None:
            tracker.skip(batch, skipped)
        for day in sorted(done.union(skipped)):
            yield DayResult(day, Outcome.SKIPPED, synced=synced.get(day))
        to_do = [day for day in days if day not in done and day not in skipped]
        if not to_do:
            return
        if volume.is_enabled:
            first = to_do[0] - timedelta(days=BASELINE_DAYS)
            volume.set_baseline(tracker.rows_of_days(dataset.name, first, to_do[-1]))
        total = len(states or batch.days) if batch else 1
        interval = ProgressInterval(dataset.progress, total)
        parallel = min(dataset.parallel_days, len(to_do))
        if parallel > 1:
            yield from _sync_in_parallel(worker, parallel, to_do, interval)
        else:
            yield from _open_source(worker, to_do)
            for number, day in enumerate(to_do, 1):
                yield DaySync(worker, day, is_due=partial(interval.is_due, number)).run()
                if job.breaker.tripped_by is not None:
                    _mark_not_run(worker, to_do[number:], job.breaker.tripped_by)
                    break
    if batch is not None and interval.behind:
        tracker.project(batch)
    if job.breaker.tripped_by is not None:
        raise job.breaker.tripped_by


def _sync_in_parallel(
    worker: WorkerConnections, parallel: int, days: Sequence[date], interval: ProgressInterval
) -> Iterator[DayResult]:
    """Sync several `days` at a time until the circuit breaker trips; update the batch's record
    when `interval` says so."""
    worker.close()
    # Each thread needs its own connections.
    workers = [worker.clone() for _ in range(parallel)]
    try:
        _open_target(workers[0], days)
        yield from _open_source(workers[0], days)
        pool = WorkerPool(workers, days)
        for number, result in enumerate(pool.results(), 1):
            # Not in the day's own transaction, where workers would wait for each other's commits.
            if worker.job.batch is not None and interval.is_due(number):
                worker.tracker.project(worker.job.batch)
            yield result
    finally:
        for one in workers:
            one.transfer_pending_to(worker)
    if worker.job.breaker.tripped_by is not None:
        _mark_not_run(worker, pool.not_started, worker.job.breaker.tripped_by)


def _open_target(worker: WorkerConnections, days: Sequence[date]) -> None:
    """Open the target. If that fails, record the days as not run and raise SyncError."""
    try:
        worker.open_target()
    except SyncError as error:
        _mark_not_run(worker, days, error)
        raise


def _open_source(worker: WorkerConnections, days: Sequence[date]) -> Iterator[DayResult]:
    """Open the source. If that fails, record the first day as failed and the others as not run,
    and raise SyncError."""
    try:
        worker.open_source()
    except SyncError as error:
        yield DaySync(worker, days[0]).fail(error)
        _mark_not_run(worker, days[1:], error)
        raise


def _mark_not_run(worker: WorkerConnections, days: Sequence[date], error: SyncError) -> None:
    """Record that `days` of the batch were not run."""
    if worker.job.batch is not None and days:
        text = one_line(error, *worker.job.secrets)
        worker.tracker.mark_not_run(worker.job.batch, days, text)
