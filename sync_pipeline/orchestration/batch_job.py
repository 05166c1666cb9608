"""The job `batch_backfill`: sync a day range as one batch with one record.

The job opens the record and syncs the days; the record is closed with the last of them. It is not
an asset job, because Dagster writes one planning event per partition when it creates a run of an
asset job; for a year of days, this would delay the first row by several seconds. Each day is still
materialized. Does not contain the code shared with the asset: see `work.py`.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from enum import Enum

import dagster as dg
from pydantic import Field

from sync_pipeline.config.dataset import Dataset, find_dataset
from sync_pipeline.config.requests import requested_days
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import RequestError, one_line
from sync_pipeline.orchestration import checks
from sync_pipeline.orchestration.dagster.batch_key import batch_key_of
from sync_pipeline.orchestration.dagster.storage import speed_up_run
from sync_pipeline.orchestration.hooks import SYNC_HOOKS, record_step_failure
from sync_pipeline.orchestration.work import (
    failure,
    open_tracker,
    raise_if_a_day_failed,
    sync_in_step,
)
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.worker.tracker import Tracker


class AlreadySynced(str, Enum):
    """What to do with days that are already synced. The launchpad shows the member names."""

    skip = "skip"
    resync = "resync"


class BatchConfig(dg.Config):
    """The config of the job, as entered in the launchpad."""

    start_date: str = Field(description="first day, such as 2025-10-01")
    end_date: str = Field(description="last day (inclusive)")
    dataset: str | None = Field(
        default=None, description="name of the dataset; optional if there is only one"
    )
    already_synced: AlreadySynced = Field(
        default=AlreadySynced.skip,
        description="whether days that are already synced are skipped or synced again",
    )


def build_batch_job(datasets: Sequence[Dataset]) -> dg.JobDefinition:
    """Return the job `batch_backfill` for `datasets`."""

    @dg.op(description="Open the record of the batch with all of its days pending.")
    def open_batch(context: dg.OpExecutionContext, config: BatchConfig) -> BatchSpec:
        speed_up_run(context.instance)
        key = batch_key_of(context.run, context.instance)
        assert key is not None, "a run of the batch job always has a key"  # noqa: S101
        try:
            with open_tracker(context.run, current_settings()) as tracker:
                return _open(key, datasets, config, tracker)
        except RequestError as error:
            raise failure(one_line(error)) from None

    @dg.op(description="Sync the days of the batch, each in a separate transaction.")
    def sync_batch(context: dg.OpExecutionContext, batch: BatchSpec) -> None:
        settings = current_settings()
        dataset = find_dataset(datasets, batch.dataset)
        with open_tracker(context.run, settings) as tracker:
            results = sync_in_step(
                context,
                dataset,
                batch.days,
                settings=settings,
                tracker=tracker,
                batch=batch,
                resync=batch.resync,
            )
            checks.report(context, dataset, checks.evaluate(dataset, results, tracker))
        raise_if_a_day_failed(dataset, results)

    @dg.job(
        name=tags.BATCH_JOB_NAME,
        description="Sync a day range as one batch with one record in daily_sync_status.",
        config=_config_of_op,
    )
    def batch_backfill() -> None:
        opened = open_batch.with_hooks({record_step_failure})()
        sync_batch.with_hooks(SYNC_HOOKS)(opened)

    return batch_backfill


def _open(
    key: str, datasets: Sequence[Dataset], config: BatchConfig, tracker: Tracker
) -> BatchSpec:
    """Open the batch's record, or join the existing record of a batch that is retried; return the
    batch. Raises RequestError if `config` is not valid.

    When a batch is retried, days that do not belong to it, or no longer to the dataset, are left
    out.
    """
    dataset = find_dataset(datasets, config.dataset)
    known = tracker.batch_days(key, dataset.name)
    _, days = requested_days(
        datasets, dataset.name, config.start_date, config.end_date, retry=bool(known)
    )
    if known:
        # A retry requests a day range, but the batch may contain only some of its days.
        days = [day for day in days if day in known]
    resync = config.already_synced is AlreadySynced.resync
    batch = BatchSpec(
        key, dataset.name, days or list(known), tracker.run_id, tracker.triggered_by, resync
    )
    tracker.open_batch(batch)
    last = dataset.last_day(datetime.now(timezone.utc))
    outside = [day for day in known if not dataset.start_date <= day <= last]
    if outside:
        reason = f"dataset {dataset.name} now begins on {dataset.start_date} and ends on {last}"
        tracker.mark_not_run(batch, outside, reason)
    if not days:
        raise RequestError(
            f"dataset {dataset.name}: the batch has no day from {dataset.start_date} to {last}; "
            "launch a new batch for other days"
        )
    return batch


@dg.config_mapping
def _config_of_op(request: BatchConfig) -> dg.RunConfig:
    """Pass the job's config to its first op, so that users do not have to name the op."""
    return dg.RunConfig(ops={"open_batch": request})
