"""Update records when runs end and backfills start; used by hooks, sensors and the reconciler.

All functions are idempotent and may run late: the record of a batch is computed from its days, and
the days of other runs that are still running are not changed. Does not decide whether a run is
lost: see `reconciler.py`.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.dagster import run_times
from sync_pipeline.orchestration.dagster.batch_key import (
    batch_key_of,
    batch_key_of_backfill,
    running_runs,
)
from sync_pipeline.orchestration.dagster.internals import PartitionBackfill
from sync_pipeline.orchestration.dagster.partitions import days_of_backfill, days_of_run
from sync_pipeline.tracking.models import Batch, BatchSpec
from sync_pipeline.tracking.state import attempts, batches

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def project_batches(cursor: "Cursor", instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Update the records of the batches of `run` from their days."""
    for batch in _batches_of(cursor, batch_key_of(run, instance)):
        batches.project(cursor, batch.id)


def close_step(
    cursor: "Cursor", instance: dg.DagsterInstance, run: dg.DagsterRun, error: str
) -> None:
    """Mark the unfinished days of a failed step of `run` as failed with `error`."""
    # The batch job may have failed before its days were known; they are those of its batch.
    days = None if run.job_name == tags.BATCH_JOB_NAME else days_of_run(run)
    for batch in _batches_of(cursor, batch_key_of(run, instance)):
        batches.mark_not_run(cursor, batch.id, error, days, run_id=run.run_id)


def close_run(
    cursor: "Cursor",
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    error: str,
) -> None:
    """Mark the unfinished days of `run`, which has ended, as failed with `error`.

    A day stays pending if another run of the batch will sync it, or if a retry made it pending
    again after the run ended.
    """
    attempts.fail_run(cursor, run.run_id, error)
    # Release the locks on batches, because other transactions lock days before batches.
    cursor.connection.commit()
    key = batch_key_of(run, instance)
    for batch in _batches_of(cursor, key):
        if _is_continued(instance, run, batch.batch_key):
            batches.project(cursor, batch.id)
        else:
            batches.mark_not_run(
                cursor,
                batch.id,
                error,
                days_of_run(run),
                run_id=run.run_id,
                planned_before=_ended_at(instance, run),
            )
        cursor.connection.commit()


def open_backfill(
    cursor: "Cursor",
    instance: dg.DagsterInstance,
    backfill: PartitionBackfill,
    datasets: Sequence[Dataset],
) -> None:
    """Open the record of a backfill for each dataset that it covers.

    A re-executed backfill continues the record of the original: its failed days become pending.
    """
    key = batch_key_of_backfill(backfill)
    for dataset, days in _parts(backfill, datasets):
        who = f"backfill {backfill.backfill_id}"
        new = BatchSpec(key, dataset.name, days, None, who, resync=True)
        # The tracking tables may have been unavailable since the backfill was created.
        ago = run_times.seconds_since(backfill.backfill_timestamp)
        batch_id = batches.open_batch(cursor, new, ago=ago)
        if key != backfill.backfill_id:
            # Days may fail in the backfill's own runs before the sensor runs. Exclude these runs
            # explicitly, because times from two clocks cannot be compared reliably.
            own = instance.get_runs(dg.RunsFilter(tags={tags.BACKFILL_TAG: backfill.backfill_id}))
            requested_at = datetime.fromtimestamp(backfill.backfill_timestamp, timezone.utc)
            batches.retry_days(
                cursor, batch_id, new, days, requested_at, except_runs=[run.run_id for run in own]
            )


def _batches_of(cursor: "Cursor", key: str | None) -> list[Batch]:
    """Return the batches with this key; a run over several datasets has one for each."""
    return [] if key is None else batches.batches_with_key(cursor, key)


def _is_continued(instance: dg.DagsterInstance, run: dg.DagsterRun, key: str) -> bool:
    """Return whether an unfinished run of the same batch covers any of the days of `run`."""
    own = days_of_run(run)
    for other in running_runs(instance).get(key, []):
        theirs = days_of_run(other)
        if other.run_id != run.run_id and (
            own is None or theirs is None or not set(own).isdisjoint(theirs)
        ):
            return True
    return False


def _ended_at(instance: dg.DagsterInstance, run: dg.DagsterRun) -> datetime | None:
    record = instance.get_run_record_by_id(run.run_id)
    if record is None or record.end_time is None:
        return None
    return datetime.fromtimestamp(record.end_time, timezone.utc)


def _parts(
    backfill: PartitionBackfill, datasets: Sequence[Dataset]
) -> Iterator[tuple[Dataset, Sequence[date]]]:
    """Yield each dataset that `backfill` covers, with its days."""
    for dataset in datasets:
        # If a job covers several datasets, its runs open the records.
        if backfill.is_asset_backfill or backfill.job_name == tags.job_name_of(dataset.name):
            days = days_of_backfill(backfill, dg.AssetKey(dataset.name))
            if days:
                yield dataset, days
