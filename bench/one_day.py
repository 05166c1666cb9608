"""Sync one day through `sync_days`, with tracking but without Dagster.

For a batch with Dagster, see `batch.py`.
"""

import time
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
    started = time.monotonic()
    with Tracker(settings, run_id="bench", triggered_by="bench") as tracker:
        (result,) = sync_days(dataset, [day], settings=settings, tracker=tracker)
    seconds = time.monotonic() - started
    if result.outcome is not Outcome.SUCCESS or result.counts is None:
        raise StackError(f"{dataset.name}, {day}: {result.error}")
    if result.counts.rows_loaded != rows:
        raise StackError(
            f"{dataset.name}, {day}: loaded {result.counts.rows_loaded} rows, expected {rows}"
        )
    return seconds
