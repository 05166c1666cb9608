"""Validation of the dataset and the days in a request.

Does not launch anything: see `orchestration/batch_job.py`.
"""

from collections.abc import Sequence
from datetime import date, datetime, timezone

from sync_pipeline.config.dataset import Dataset, find_dataset, parse_day


def requested_days(
    datasets: Sequence[Dataset], name: str | None, start: str, end: str
) -> tuple[Dataset, list[date]]:
    """Return the dataset and the days of a request. Raises RequestError if it is not valid."""
    dataset = find_dataset(datasets, name)
    first = parse_day(start, "start_date")
    last = parse_day(end, "end_date")
    return dataset, dataset.days(first, last, datetime.now(timezone.utc))
