"""`sync_days`: many days in one worker, and when to stop before the last.

A day that fails does not stop those after it, but a source or target that is gone does. How a day
is replaced and recorded stands in `day_worker`. Nothing here knows Dagster.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import date

from sync_pipeline.dataset import Dataset
from sync_pipeline.day_worker import DayResult as DayResult
from sync_pipeline.day_worker import DayWorker
from sync_pipeline.day_worker import Outcome as Outcome
from sync_pipeline.errors import SyncError
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import AttemptState, NewBatch
from sync_pipeline.tracking.progress import days_between_writes
from sync_pipeline.tracking.tracker import Tracker

_DONE = (AttemptState.SUCCESS, AttemptState.SKIPPED)
_logger = logging.getLogger(__name__)


def sync_days(
    dataset: Dataset,
    days: Sequence[date],
    *,
    settings: Settings,
    tracker: Tracker,
    batch: NewBatch | None = None,
    resync: bool = True,
    logger: logging.Logger = _logger,
) -> Iterator[DayResult]:
    """Sync `days` one after the other; yield each day's result as soon as it is known.

    With `resync` false, days that are already in are skipped. Days that are done in `batch`, which
    this may continue, are skipped in any case, and their records left as they are. A day that fails
    does not stop those after it. Raises SyncError, after the untried days were recorded as not run,
    when source or target cannot be worked with, at all or any more; WorkerLostError when this
    worker was taken for lost. If the caller stops (an interrupt, a closed generator) the day in
    work is rolled back and recorded as failed. `logger` is told of each try that is made again.
    """
    days = sorted(set(days))
    states = {} if batch is None else tracker.batch_days(batch)
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
    worker = DayWorker(dataset, settings, tracker, batch, logger)
    try:
        every = days_between_writes(dataset.progress, len(states or batch.days) if batch else 1)
        yield from _sync(worker, to_do, every)
        if batch is not None and every > 1:
            tracker.refresh(batch)
        if worker.broken_by is not None:
            raise worker.broken_by
    finally:
        worker.close()


def _sync(worker: DayWorker, days: Sequence[date], every: int) -> Iterator[DayResult]:
    """Sync `days`, writing the batch's progress after `every` so many, until one breaks off."""
    try:
        worker.open_target()
    except SyncError as error:
        worker.give_up(days, error)
        raise
    try:
        worker.open_source()
    except SyncError as error:
        yield worker.fail_day(days[0], error)
        worker.give_up(days[1:], error)
        raise
    for number, day in enumerate(days, 1):
        yield worker.sync_day(day, refresh=number % every == 0)
        if worker.broken_by is not None:
            worker.give_up(days[number:], worker.broken_by)
            return
