"""Bringing records up to what Dagster says of runs and backfills; for hooks and sensors.

Everything here may be done twice or late: records are projections of their days, and nothing is
taken from a run that is still at work.
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
from sync_pipeline.tracking.models import Batch, NewBatch
from sync_pipeline.tracking.state import attempts, batches

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def refresh_batches(cursor: "Cursor", instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Bring the records of the batches that `run` works on up to their days."""
    for batch in _batches_of(cursor, batch_key_of(run, instance)):
        batches.refresh(cursor, batch.id)


def close_step(
    cursor: "Cursor", instance: dg.DagsterInstance, run: dg.DagsterRun, error: str
) -> None:
    """Close what a step of `run` that failed left unfinished, with `error`."""
    # The batch job's other chunks still run; only an asset's step is its whole run.
    days = [] if run.job_name == tags.BATCH_JOB_NAME else days_of_run(run)
    for batch in _batches_of(cursor, batch_key_of(run, instance)):
        attempts.mark_days_not_run(cursor, batch.id, error, days, run_id=run.run_id)
        batches.refresh(cursor, batch.id)


def close_run(
    cursor: "Cursor",
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    error: str,
) -> None:
    """Close what `run`, which is over, left unfinished: days begun, and its days of a batch.

    Days that never began are left to another run of the same batch that is at work on them, and
    to whoever took the batch up again after this run had ended.
    """
    attempts.fail_open_attempts_of_run(cursor, run.run_id, error)
    # Its locks on batches end here: whoever else closes days takes those of the days first.
    cursor.connection.commit()
    key = batch_key_of(run, instance)
    for batch in _batches_of(cursor, key):
        if not _taken_over(instance, run, batch.batch_key):
            days = days_of_run(run)
            attempts.mark_days_not_run(
                cursor,
                batch.id,
                error,
                days,
                run_id=run.run_id,
                planned_before=_ended_at(instance, run),
            )
        batches.refresh(cursor, batch.id)
        cursor.connection.commit()


def open_backfill(
    cursor: "Cursor",
    instance: dg.DagsterInstance,
    backfill: PartitionBackfill,
    datasets: Sequence[Dataset],
) -> None:
    """Open the record of a backfill in each dataset it covers.

    A backfill that re-executes another continues its record: days that failed before wait again.
    """
    key = batch_key_of_backfill(backfill)
    for dataset, days in _parts(backfill, datasets):
        who = f"backfill {backfill.backfill_id}"
        new = NewBatch(key, dataset.name, days, None, who, resync=True)
        # The records may have been away since.
        ago = run_times.since(backfill.backfill_timestamp)
        batch = batches.open_batch(cursor, new, ago=ago)
        if key != backfill.backfill_id:
            # They may fail again before the sensor sees them; its clock is not the database's.
            own = instance.get_runs(dg.RunsFilter(tags={tags.BACKFILL_TAG: backfill.backfill_id}))
            asked_at = datetime.fromtimestamp(backfill.backfill_timestamp, timezone.utc)
            batches.retry_batch(
                cursor, batch.id, new, days, asked_at, except_runs=[run.run_id for run in own]
            )


def _batches_of(cursor: "Cursor", key: str | None) -> list[Batch]:
    """Return the batches with this key; a run over several datasets has one in each."""
    return [] if key is None else batches.batches_with_key(cursor, key)


def _taken_over(instance: dg.DagsterInstance, run: dg.DagsterRun, key: str) -> bool:
    """Say whether another run of the same batch is at work on days of `run`."""
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
        # Of a job that holds several datasets, its runs know which: they open the records.
        if backfill.is_asset_backfill or backfill.job_name == tags.job_name_of(dataset.name):
            days = days_of_backfill(backfill, dg.AssetKey(dataset.name))
            if days:
                yield dataset, days
