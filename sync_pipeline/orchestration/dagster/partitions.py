"""Convert between days and Dagster partition keys, and find the days of a run or backfill."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.dagster.internals import PartitionBackfill


def partitions_of(dataset: Dataset) -> dg.DailyPartitionsDefinition:
    """Return the partitions definition of the dataset: its days, in its time zone."""
    # Dagster's end date is exclusive; without one, the last partition is the last finished day.
    end = None if dataset.end_date is None else dataset.end_date + timedelta(days=1)
    return dg.DailyPartitionsDefinition(
        start_date=dataset.start_date.isoformat(),
        end_date=None if end is None else end.isoformat(),
        timezone=dataset.timezone,
    )


def to_days(partition_keys: Iterable[str]) -> list[date]:
    """Return the days for these partition keys, oldest first."""
    return sorted(date.fromisoformat(key) for key in partition_keys)


def days_of_run(run: dg.DagsterRun) -> list[date] | None:
    """Return the days of an asset run from its tags, or None if it has no such tags or its
    partitions are not days."""
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
    """Return the days of `asset_key` in a backfill, or none if it does not contain that asset."""
    if backfill.is_asset_backfill:
        data = backfill.asset_backfill_data
        if data is None or asset_key not in data.target_subset.asset_keys:
            return []
        subset = data.target_subset.get_partitions_subset(asset_key)
        return to_days(subset.get_partition_keys())
    return to_days(backfill.partition_names or [])
