"""Results of days that could not be recorded, stored in Dagster as observations of the asset.

A worker that cannot write a day's result to the tracking tables logs it as an observation, so that
the result is not lost if the worker ends before the tables are available again. Does not record
the results: see `recovery/after_outage.py`.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import AssetRecordsFilter

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.sync.result import DayResult, Outcome
from sync_pipeline.tracking.models import DayCounts, NewBatch
from sync_pipeline.tracking.worker import batch_json

_UNRECORDED = "unrecorded"
_logger = logging.getLogger(__name__)
_MAX_PER_RUN = 500
_SETTLED_SECONDS = 10.0  # after this time, no event with a smaller storage ID can appear


@dataclass
class ReadPosition:
    """How far a dataset's observations have been read: all storage IDs up to `after`, plus the
    later ones listed in `done`."""

    after: int = 0
    done: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class UnrecordedDay:
    """The result of a day that could not be recorded.

    Times are from the worker's clock, in UTC.
    """

    dataset: str
    day: date
    outcome: Outcome
    started_at: datetime
    ended_at: datetime
    counts: DayCounts | None
    error: str | None
    number: int | None
    batch: NewBatch | None
    run_id: str


def build_observation(
    asset_key: dg.AssetKey, result: DayResult, ended_at: datetime, batch: NewBatch | None
) -> dg.AssetObservation:
    """Return the observation that contains `result`."""
    content = {
        "outcome": result.outcome.value,
        "started_at": (ended_at - timedelta(seconds=result.seconds)).isoformat(),
        "ended_at": ended_at.isoformat(),
        "counts": asdict(result.counts) if result.counts else None,
        "error": result.error,
        "number": result.attempt.number if result.attempt else None,
        "batch": batch_json.to_json(batch) if batch else None,
    }
    return dg.AssetObservation(
        asset_key,
        partition=result.day.isoformat(),
        description="daily_sync_status was unavailable; the reconciler will record this day",
        metadata={_UNRECORDED: dg.MetadataValue.json(content)},
    )


def unread(
    instance: dg.DagsterInstance, dataset: Dataset, position: ReadPosition
) -> Iterator[tuple[int, UnrecordedDay]]:
    """Yield the results of `dataset` that have not been read yet, with their storage IDs.

    The caller adds an ID to `position.done` once it has recorded the result. After the last
    result, `position.after` is advanced.
    """
    later = AssetRecordsFilter(dg.AssetKey(dataset.name), after_storage_id=position.after)
    found = instance.fetch_observations(later, limit=_MAX_PER_RUN, ascending=True).records
    for record in found:
        day = _read(record.event_log_entry)
        if day is None:
            position.done.append(record.storage_id)
        elif record.storage_id not in position.done:
            yield record.storage_id, day
    for record in found:
        settled = time.time() - record.timestamp > _SETTLED_SECONDS
        if not settled or record.storage_id not in position.done:
            break
        position.after = record.storage_id
    position.done = [id_ for id_ in position.done if id_ > position.after]


def observed_by_run(instance: dg.DagsterInstance, run_id: str) -> list[UnrecordedDay]:
    """Return the results that a run logged as observations."""
    observed = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    days = [_read(record.event_log_entry) for record in observed.records]
    return [day for day in days if day is not None]


def _read(event: dg.EventLogEntry) -> UnrecordedDay | None:
    """Return the result in an observation, or None if it has none or cannot be parsed."""
    observed = event.asset_observation
    value = observed.metadata.get(_UNRECORDED) if observed is not None else None
    if observed is None or observed.partition is None or value is None:
        return None
    content: Any = value.value
    dataset = observed.asset_key.path[-1]
    try:
        return UnrecordedDay(
            dataset,
            date.fromisoformat(observed.partition),
            Outcome(content["outcome"]),
            datetime.fromisoformat(content["started_at"]),
            datetime.fromisoformat(content["ended_at"]),
            DayCounts(**content["counts"]) if content["counts"] else None,
            content["error"],
            content["number"],
            batch_json.from_json(dataset, content["batch"]) if content["batch"] else None,
            event.run_id,
        )
    except (KeyError, TypeError, ValueError):
        _logger.exception("an observation of %s has an unknown format and is ignored", dataset)
        return None
