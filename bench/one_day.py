"""Sync days through `sync_days`, with tracking but without Dagster.

For a batch with Dagster, see `batch.py`.
"""

import time
from collections.abc import Sequence
from datetime import date

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import StackError
from sync_pipeline.settings import Settings
from sync_pipeline.sync.days import Outcome, sync_days
from sync_pipeline.tracking.worker.tracker import Tracker


def sync_day(dataset: Dataset, day: date, settings: Settings, rows: int) -> float:
    """Sync `day`; return the duration in seconds, including the time to connect.

    Raises StackError if the day fails or does not have `rows` rows.
    """
    return sync_each_day(dataset, [day], settings, rows)


def sync_each_day(dataset: Dataset, days: Sequence[date], settings: Settings, rows: int) -> float:
    """Sync `days`; return the duration in seconds, including the time to connect.

    Raises StackError if a day fails or the days do not have `rows` rows in total.
    """
    started, loaded = time.monotonic(), 0
    with Tracker(settings, run_id="bench", triggered_by="bench") as tracker:
        for result in sync_days(dataset, days, settings=settings, tracker=tracker):
            if result.outcome is not Outcome.SUCCESS or result.counts is None:
                raise StackError(f"{dataset.name}, {result.day}: {result.error}")
            loaded += result.counts.rows_loaded
    seconds = time.monotonic() - started
    if loaded != rows:
        raise StackError(f"{dataset.name}: loaded {loaded} rows, expected {rows}")
    return seconds
