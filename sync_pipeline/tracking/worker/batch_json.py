"""A requested batch as JSON, for events that have to open the batch's record later.

Does not contain the batch's state: see `state/batches.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sync_pipeline.tracking.models import NewBatch, day_ranges


def to_json(batch: NewBatch) -> dict[str, Any]:
    """Return `batch` as JSON for `from_json`, without the dataset."""
    return {
        "batch_key": batch.batch_key,
        "ranges": [[str(first), str(last)] for first, last in day_ranges(batch.days)],
        "run_id": batch.run_id,
        "triggered_by": batch.triggered_by,
        "resync": batch.resync,
    }


def from_json(dataset: str, saved: Mapping[str, Any]) -> NewBatch:
    """Return the batch of `dataset` that `to_json` converted to `saved`.

    Raises KeyError, TypeError or ValueError if `saved` is not in this format.
    """
    return NewBatch(
        saved["batch_key"],
        dataset,
        _days(saved["ranges"]),
        saved["run_id"],
        saved["triggered_by"],
        saved["resync"],
    )


def _days(ranges: Sequence[Sequence[str]]) -> list[date]:
    days: list[date] = []
    for first, last in ranges:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        days += [start + timedelta(days=n) for n in range((end - start).days + 1)]
    return days
