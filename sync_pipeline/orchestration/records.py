"""Bringing records up to what Dagster says of runs and backfills; for hooks and sensors.

Everything here may be done twice or late: records are projections of their days, and nothing is
taken from a run that is still at work.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import ROOT_RUN_ID_TAG

from sync_pipeline.database.connections import connect
from sync_pipeline.dataset import Dataset
from sync_pipeline.errors import TrackingError
from sync_pipeline.orchestration import identity
from sync_pipeline.orchestration.days import days_of_backfill, days_of_run
from sync_pipeline.settings import Settings
from sync_pipeline.tracking import attempts, batches
from sync_pipeline.tracking.models import Batch, NewBatch

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


@contextmanager
def tracking(settings: Settings) -> Iterator["Cursor"]:
    """A cursor on the tracking tables, in one transaction. Raises TrackingError, psycopg2.Error."""
    connection = connect(
        settings.tracking_url,
        setting=settings.tracking_setting,
        purpose="records",
        error=TrackingError,
    )
    with closing(connection), connection, connection.cursor() as cursor:
        yield cursor


def refresh_batches(cursor: "Cursor", run: dg.DagsterRun) -> None:
    """Bring the records of the batches that `run` works on up to their days."""
    for batch in _batches_of(cursor, run):
        batches.refresh(cursor, batch.id)


def close_step(cursor: "Cursor", run: dg.DagsterRun, error: str) -> None:
    """Close what a step of `run` that failed left unfinished, with `error`."""
    # The batch job's other chunks still run; only an asset's step is its whole run.
    days = [] if run.job_name == identity.BATCH_JOB_NAME else days_of_run(run)
    for batch in _batches_of(cursor, run):
        attempts.give_up_batch(cursor, batch.id, error, days, run_id=run.run_id)
        batches.refresh(cursor, batch.id)


def close_run(
    cursor: "Cursor",
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    error: str,
) -> None:
    """Close what `run`, which is over, left unfinished: days begun, and its days of a batch.

    Days that never began are left to another run of the same batch that is at work on them.
    """
    attempts.give_up_run(cursor, run.run_id, error)
    # Its locks on batches end here: whoever else closes days takes those of the days first.
    cursor.connection.commit()
    for batch in _batches_of(cursor, run):
        if not _taken_over(instance, run):
            days = days_of_run(run)
            attempts.give_up_batch(cursor, batch.id, error, days, run_id=run.run_id)
        batches.refresh(cursor, batch.id)
        cursor.connection.commit()


def open_backfill(
    cursor: "Cursor", backfill: PartitionBackfill, datasets: Sequence[Dataset]
) -> None:
    """Open the record of a backfill in each dataset it covers."""
    for dataset, days in _parts(backfill, datasets):
        who = f"backfill {backfill.backfill_id}"
        batches.open_batch(cursor, NewBatch(backfill.backfill_id, dataset.name, days, None, who))


def close_backfill(cursor: "Cursor", backfill: PartitionBackfill) -> None:
    """Close what a backfill that is over, with all its runs, left unfinished."""
    error = f"backfill {backfill.backfill_id} ended {backfill.status.value.lower()}"
    for batch in batches.batches_with_key(cursor, backfill.backfill_id):
        attempts.give_up_batch(cursor, batch.id, error)
        batches.refresh(cursor, batch.id)


def _batches_of(cursor: "Cursor", run: dg.DagsterRun) -> list[Batch]:
    """Return the batches that `run` works on; a run over several datasets has one in each."""
    key = identity.batch_key_of(run)
    return [] if key is None else batches.batches_with_key(cursor, key)


def _taken_over(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Say whether another run of the same batch is at work on days of `run`."""
    for tag in (identity.BATCH_KEY_TAG, identity.BACKFILL_TAG, ROOT_RUN_ID_TAG):
        if tag in run.tags:
            same_batch = {tag: run.tags[tag]}
            break
    else:
        same_batch = {ROOT_RUN_ID_TAG: run.run_id}
    own = days_of_run(run)
    for other in instance.get_runs(
        dg.RunsFilter(tags=same_batch, statuses=list(NOT_FINISHED_STATUSES))
    ):
        theirs = days_of_run(other)
        if other.run_id != run.run_id and (
            own is None or theirs is None or not set(own).isdisjoint(theirs)
        ):
            return True
    return False


def _parts(
    backfill: PartitionBackfill, datasets: Sequence[Dataset]
) -> Iterator[tuple[Dataset, Sequence[date]]]:
    """Yield each dataset that `backfill` covers, with its days."""
    for dataset in datasets:
        # Of a job that holds several datasets, its runs know which: they open the records.
        if backfill.is_asset_backfill or backfill.job_name == identity.job_name_of(dataset.name):
            days = days_of_backfill(backfill, dg.AssetKey(dataset.name))
            if days:
                yield dataset, days
