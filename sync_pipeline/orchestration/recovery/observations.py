"""How days ended while the records were away, as Dagster was told of it then.

A worker that cannot write down how a day ended tells it as an observation of the asset, so that it
is known even if the worker ends before the records are back. `late_entries` enters it in them.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import AssetRecordsFilter

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.orchestration.recovery.cursor import ReadPosition
from sync_pipeline.sync.result import DayResult, Outcome
from sync_pipeline.tracking.models import DayCounts, NewBatch
from sync_pipeline.tracking.worker import batch_json

_UNRECORDED = "unrecorded"
_logger = logging.getLogger(__name__)
_MAX_AT_ONCE = 500  # a look
_SETTLED_SECONDS = 10.0  # by then, no event with a smaller storage id will appear any more


@dataclass(frozen=True)
class UnrecordedDay:
    """How a day ended that could not be recorded. Times are by the worker's clock, in UTC."""

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


def observation(
    asset_key: dg.AssetKey, result: DayResult, ended_at: datetime, batch: NewBatch | None
) -> dg.AssetObservation:
    """Return the event that tells of `result`."""
    told = {
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
        description="daily_sync_status was away; the reconciler will enter this in it",
        metadata={_UNRECORDED: dg.MetadataValue.json(told)},
    )


def unheard(
    instance: dg.DagsterInstance, dataset: Dataset, heard: ReadPosition
) -> Iterator[tuple[int, UnrecordedDay]]:
    """Yield the days of `dataset` that were told and not heard of yet, with their storage ids.

    The caller adds to `heard.done` what it has entered; at the end, `heard.after` has moved on.
    """
    which = AssetRecordsFilter(dg.AssetKey(dataset.name), after_storage_id=heard.after)
    found = instance.fetch_observations(which, limit=_MAX_AT_ONCE, ascending=True).records
    for record in found:
        told = _told(record.event_log_entry)
        if told is None:
            heard.done.append(record.storage_id)
        elif record.storage_id not in heard.done:
            yield record.storage_id, told
    for record in found:
        settled = time.time() - record.timestamp > _SETTLED_SECONDS
        if not settled or record.storage_id not in heard.done:
            break
        heard.after = record.storage_id
    heard.done = [id_ for id_ in heard.done if id_ > heard.after]


def told_by_run(instance: dg.DagsterInstance, run_id: str) -> list[UnrecordedDay]:
    """Return the days that a run told of."""
    observed = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    told = [_told(record.event_log_entry) for record in observed.records]
    return [day for day in told if day is not None]


def _told(event: dg.EventLogEntry) -> UnrecordedDay | None:
    """Return what an observation of ours tells; None for anybody else's."""
    observed = event.asset_observation
    value = observed.metadata.get(_UNRECORDED) if observed is not None else None
    if observed is None or observed.partition is None or value is None:
        return None
    told: Any = value.value
    dataset = observed.asset_key.path[-1]
    try:
        return UnrecordedDay(
            dataset,
            date.fromisoformat(observed.partition),
            Outcome(told["outcome"]),
            datetime.fromisoformat(told["started_at"]),
            datetime.fromisoformat(told["ended_at"]),
            DayCounts(**told["counts"]) if told["counts"] else None,
            told["error"],
            told["number"],
            batch_json.from_json(dataset, told["batch"]) if told["batch"] else None,
            event.run_id,
        )
    except (KeyError, TypeError, ValueError):
        _logger.exception("an observation of %s is not as this version writes it", dataset)
        return None
