"""What a batch was asked for, as JSON: for what tells of its days while no record can."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sync_pipeline.tracking.models import NewBatch, day_ranges


def to_json(batch: NewBatch) -> dict[str, Any]:
    """Return what `from_json` reads; the dataset is not in it."""
    return {
        "batch_key": batch.batch_key,
        "ranges": [[str(first), str(last)] for first, last in day_ranges(batch.days)],
        "run_id": batch.run_id,
        "triggered_by": batch.triggered_by,
        "resync": batch.resync,
    }


def from_json(dataset: str, said: Mapping[str, Any]) -> NewBatch:
    """Return the batch of `dataset` that `to_json` wrote.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    return NewBatch(
        said["batch_key"],
        dataset,
        _days(said["ranges"]),
        said["run_id"],
        said["triggered_by"],
        said["resync"],
    )


def _days(ranges: Sequence[Sequence[str]]) -> list[date]:
    days: list[date] = []
    for first, last in ranges:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        days += [start + timedelta(days=n) for n in range((end - start).days + 1)]
    return days
