"""A dataset's daily-partitioned asset.

A run covers one or more days; each day is materialized as soon as it is synced. A backfill, or a
run over a day range, is a batch with its own record; a run for a single day has only that day's
record. The code shared with the batch job is in `work.py`.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.tags import DATASET_METADATA
from sync_pipeline.orchestration.checks import check_specs, evaluate
from sync_pipeline.orchestration.dagster.batch_key import batch_key_of
from sync_pipeline.orchestration.dagster.partitions import days_of_backfill, partitions_of, to_days
from sync_pipeline.orchestration.hooks import SYNC_HOOKS
from sync_pipeline.orchestration.work import (
    asset_key_of,
    open_tracker,
    raise_if_a_day_failed,
    sync_in_step,
)
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.worker.tracker import Tracker


def build_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """Return the dataset's asset.

    The asset also syncs days that are already synced, because a user who launches a backfill in the
    Dagster UI expects all of its days to be synced.
    """

    @dg.asset(
        key=asset_key_of(dataset),
        description=dataset.description or _description(dataset),
        group_name="daily_sync",
        kinds={dataset.source.type, "postgres"},
        partitions_def=partitions_of(dataset),
        backfill_policy=_backfill_policy(dataset),
        hooks=SYNC_HOOKS,
        check_specs=check_specs(dataset),
        # With an output, Dagster would emit a second materialization for each partition.
        output_required=False,
        metadata={
            "source": dataset.source.origin,
            "source_settings": ", ".join(dataset.source.secret_settings) or "none",
            "day_column": dataset.source.day_column,
            "dagster/table_name": dataset.target.table,
            "timezone": dataset.timezone,
            # Read by the API, which does not load the definitions. Contains no secrets.
            DATASET_METADATA: dg.MetadataValue.json(dataset.as_json()),
        },
    )
    def daily_sync(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult]:
        settings = current_settings()
        days = to_days(context.partition_keys)
        with open_tracker(context.run, settings) as tracker:
            batch = _batch_of(context, dataset, days, tracker)
            results = sync_in_step(
                context.op_execution_context,
                dataset,
                days,
                settings=settings,
                tracker=tracker,
                batch=batch,
                resync=True,
            )
            yield from evaluate(dataset, results, tracker)
        raise_if_a_day_failed(dataset, results)

    return daily_sync


def _batch_of(
    context: dg.AssetExecutionContext, dataset: Dataset, days: Sequence[date], tracker: Tracker
) -> BatchSpec | None:
    """Open the record of the run's batch and return the batch, or None for a single-day run."""
    key = batch_key_of(context.run, context.instance)
    if key is None:
        return None
    backfill_id = context.run.tags.get(tags.BACKFILL_TAG)
    backfill = context.instance.get_backfill(backfill_id) if backfill_id else None
    all_days = days_of_backfill(backfill, asset_key_of(dataset)) if backfill else days
    new = BatchSpec(
        key, dataset.name, all_days or days, tracker.run_id, tracker.triggered_by, resync=True
    )
    tracker.open_batch(new)
    return new


def _description(dataset: Dataset) -> str:
    route = f"{dataset.source.origin} → {dataset.target.table}"
    return f"{route}, day by day. Recorded in daily_sync_status."


def _backfill_policy(dataset: Dataset) -> dg.BackfillPolicy:
    if dataset.backfill == "single_run":
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=dataset.backfill)
