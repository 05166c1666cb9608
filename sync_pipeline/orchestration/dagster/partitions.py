"""From Dagster's partition keys to days and back, and which days a run or a backfill covers."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.dagster.internals import PartitionBackfill


def partitions_of(dataset: Dataset) -> dg.DailyPartitionsDefinition:
    """Return the dataset's days as Dagster partitions, in the dataset's time zone."""
    # Dagster's end is exclusive; without one, the last partition is the last finished day.
    end = None if dataset.end_date is None else dataset.end_date + timedelta(days=1)
    return dg.DailyPartitionsDefinition(
        start_date=dataset.start_date.isoformat(),
        end_date=None if end is None else end.isoformat(),
        timezone=dataset.timezone,
    )


def to_days(partition_keys: Iterable[str]) -> list[date]:
    """Return the days of these partition keys, oldest first."""
    return sorted(date.fromisoformat(key) for key in partition_keys)


def days_of_run(run: dg.DagsterRun) -> list[date] | None:
    """Return the days a run of an asset covers, by its tags; None if these don't say, or name
    partitions that are no days."""
    first = run.tags.get(tags.RANGE_START_TAG) or run.tags.get("dagster/partition")
    last = run.tags.get(tags.RANGE_END_TAG) or run.tags.get("dagster/partition")
    if not first or not last:
        return None
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return None
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def days_of_backfill(backfill: PartitionBackfill, asset_key: dg.AssetKey) -> Sequence[date]:
    """Return the days of `asset_key` that a backfill was launched for; none if it isn't in it."""
    if backfill.is_asset_backfill:
        data = backfill.asset_backfill_data
        if data is None or asset_key not in data.target_subset.asset_keys:
            return []
        subset = data.target_subset.get_partitions_subset(asset_key)
        return to_days(subset.get_partition_keys())
    return to_days(backfill.partition_names or [])
