"""The batch backfill job: launched from the launchpad with two dates, it opens the tracking
record first, then syncs the days in chunks, then closes it.

Not an asset job on purpose: Dagster writes one planned event per partition when a run of an asset
job is created, which for a year costs seconds before the first row moves. Each day is
materialized all the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from enum import Enum

import dagster as dg
from pydantic import Field

from sync_pipeline.config.dataset import Dataset, find_dataset, parse_day
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import RequestError, one_line
from sync_pipeline.orchestration import checks
from sync_pipeline.orchestration.dagster.batch_key import batch_key_of
from sync_pipeline.orchestration.dagster.storage import keep_connections_open
from sync_pipeline.orchestration.hooks import sync_hooks
from sync_pipeline.orchestration.work import (
    fail_if_a_day_failed,
    failure,
    requested_at,
    sync_in_step,
    tracker_for,
)
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.models import NewBatch
from sync_pipeline.tracking.worker.tracker import Tracker


class AlreadySynced(str, Enum):
    """What to do with a day that is in already. Dagster's launchpad shows the members' names."""

    skip = "skip"
    resync = "resync"


class BatchConfig(dg.Config):
    """What the launchpad asks for."""

    start_date: str = Field(description="first day, such as 2025-10-01")
    end_date: str = Field(description="last day, included")
    dataset: str | None = Field(
        default=None, description="which dataset; not needed when there is only one"
    )
    already_synced: AlreadySynced = Field(
        default=AlreadySynced.skip,
        description="skip days that are in already, or resync them",
    )
    days_per_step: int = Field(
        default=366,
        ge=1,
        description="days synced in one step of the run",
    )


@dataclass(frozen=True)
class Chunk:
    """Some of a batch's days, synced in one step."""

    days: Sequence[date]
    batch: NewBatch

    @property
    def mapping_key(self) -> str:
        return f"{self.days[0]:%Y_%m_%d}__{self.days[-1]:%Y_%m_%d}"


def requested_days(
    datasets: Sequence[Dataset], name: str | None, start: str, end: str
) -> tuple[Dataset, list[date]]:
    """Return the dataset and the days a request names. Raises RequestError if they cannot be."""
    dataset = find_dataset(datasets, name)
    first = parse_day(start, "start_date")
    last = parse_day(end, "end_date")
    return dataset, dataset.days(first, last, datetime.now(timezone.utc))


def build_batch_job(datasets: Sequence[Dataset]) -> dg.JobDefinition:
    """Return the job `batch_backfill` over these datasets."""

    @dg.op(
        out=dg.DynamicOut(Chunk),
        description="Open the batch's record, with all its days pending.",
    )
    def open_batch(
        context: dg.OpExecutionContext, config: BatchConfig
    ) -> Iterator[dg.DynamicOutput[Chunk]]:
        keep_connections_open(context.instance)
        try:
            dataset, days = requested_days(
                datasets, config.dataset, config.start_date, config.end_date
            )
        except RequestError as error:
            raise failure(one_line(error)) from None
        resync = config.already_synced is AlreadySynced.resync
        with tracker_for(context.run, current_settings()) as tracker:
            batch = _open(context, dataset, days, tracker, resync=resync)
        for start in range(0, len(batch.days), config.days_per_step):
            chunk = Chunk(batch.days[start : start + config.days_per_step], batch)
            yield dg.DynamicOutput(chunk, mapping_key=chunk.mapping_key)

    @dg.op(description="Sync a chunk of days, one transaction each.")
    def sync_chunk(context: dg.OpExecutionContext, chunk: Chunk) -> int:
        environment = current_settings()
        dataset = find_dataset(datasets, chunk.batch.dataset)
        with tracker_for(context.run, environment) as tracker:
            results = sync_in_step(
                context,
                dataset,
                chunk.days,
                settings=environment,
                tracker=tracker,
                batch=chunk.batch,
                resync=chunk.batch.resync,
            )
            checks.tell(context, dataset, checks.evaluate(dataset, results, tracker))
        fail_if_a_day_failed(dataset, results)
        return len(results)

    @dg.op(description="All days are in: the record is closed.")
    def close_batch(context: dg.OpExecutionContext, chunks: list[int]) -> None:
        context.log.info(f"{sum(chunks)} days are in")

    @dg.job(
        name=tags.BATCH_JOB_NAME,
        description="Sync a range of days as one batch with one record in daily_sync_status.",
        hooks=sync_hooks(),
        config=_request_to_op,
    )
    def batch_backfill() -> None:
        close_batch(open_batch().map(sync_chunk).collect())

    return batch_backfill


def _open(
    context: dg.OpExecutionContext,
    dataset: Dataset,
    days: Sequence[date],
    tracker: Tracker,
    *,
    resync: bool,
) -> NewBatch:
    """Open the batch, or take it up again, if that can be; return it with its own of `days`."""
    key = batch_key_of(context.run, context.instance)
    assert key is not None, "a run of the batch job always has a key"  # noqa: S101
    new = NewBatch(key, dataset.name, days, tracker.run_id, tracker.triggered_by, resync)
    # A batch of scattered days, tried again by its range.
    known = tracker.batch_days(new)
    if known:
        new = replace(new, days=[day for day in days if day in known] or days)
        tracker.retry_batch(new, new.days, requested_at(context))
    tracker.open_batch(new)
    return new


@dg.config_mapping
def _request_to_op(request: BatchConfig) -> dg.RunConfig:
    """Let the launchpad ask for the request alone, without the op that reads it."""
    return dg.RunConfig(ops={"open_batch": request})
