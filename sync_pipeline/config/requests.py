"""Validation of the dataset and the days in a request.

Does not launch anything: see `orchestration/batch_job.py`.
"""

from collections.abc import Sequence
from datetime import date, datetime, timezone

from sync_pipeline.config.dataset import Dataset, find_dataset, parse_day


def requested_days(
    datasets: Sequence[Dataset], name: str | None, start: str, end: str, *, retry: bool = False
) -> tuple[Dataset, list[date]]:
    """Return the dataset and the days of a request. Raises RequestError if it is not valid.

    If a batch is retried, leaves out days that no longer belong to the dataset, whose `start_date`
    or `end_date` may have changed.
    """
    dataset = find_dataset(datasets, name)
    first = parse_day(start, "start_date")
    last = parse_day(end, "end_date")
    now = datetime.now(timezone.utc)
    if retry and first <= dataset.last_day(now) and last >= dataset.start_date:
        first, last = max(first, dataset.start_date), min(last, dataset.last_day(now))
    return dataset, dataset.days(first, last, now)
