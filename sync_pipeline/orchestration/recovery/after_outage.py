"""Open the records of batches whose runs ended while the tracking tables were unavailable.

Idempotent. Does not record the days that were synced meanwhile: see `target_cleanup.py`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.requests import requested_days
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import RequestError
from sync_pipeline.orchestration.dagster import run_times
from sync_pipeline.orchestration.dagster.batch_key import batch_key_of, triggered_by
from sync_pipeline.orchestration.dagster.cancellation import describe_cancellation
from sync_pipeline.orchestration.dagster.internals import FINISHED_STATUSES, RunRecord
from sync_pipeline.orchestration.dagster.partitions import days_of_run
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.state import batches
from sync_pipeline.tracking.state.corrections import Correction

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_SETTLED_SECONDS = 10.0  # a run may become visible this long after a run that ended later


def open_records_of_ended_runs(
    connection: "Connection",
    instance: dg.DagsterInstance,
    datasets: Sequence[Dataset],
    state: ReconcilerCursor,
) -> Iterator[Correction]:
    """Open and close the records of batches whose runs ended without opening one; yield a
    correction for each."""
    if state.runs_after is None:
        state.runs_after = time.time()  # ignore runs that have already ended
    since = state.runs_after - _SETTLED_SECONDS
    ended = instance.get_run_records(
        dg.RunsFilter(
            statuses=list(FINISHED_STATUSES),
            updated_after=datetime.fromtimestamp(since, timezone.utc),
        ),
        order_by="update_timestamp",
        ascending=True,
    )
    for record in ended:
        for new in _batches_of(instance, record, datasets):
            with connection, connection.cursor() as cursor:
                if batches.find_batch(cursor, new.batch_key, new.dataset) is not None:
                    continue
                batch_id = batches.open_batch(
                    cursor, new, ago=run_times.seconds_since(run_times.start_time(record))
                )
                batches.mark_not_run(
                    cursor,
                    batch_id,
                    _why_ended(instance, record.dagster_run),
                    ago=run_times.seconds_since(run_times.end_time(record)),
                )
            yield Correction(
                "opened the record of a batch after its end",
                "its run ended without opening it",
                dataset=new.dataset,
                batch_key=new.batch_key,
                run_id=new.run_id,
            )
        state.runs_after = max(state.runs_after, record.update_timestamp.timestamp())


def _batches_of(
    instance: dg.DagsterInstance, record: RunRecord, datasets: Sequence[Dataset]
) -> Iterator[BatchSpec]:
    """Yield the batch of a run for each of its datasets, as the run itself would have opened it."""
    run = record.dagster_run
    key = batch_key_of(run, instance)
    # The backfill sensor opens the record of a backfill, and retries until it succeeds.
    if key is None or tags.BACKFILL_TAG in run.tags:
        return
    who = triggered_by(run)
    if run.job_name == tags.BATCH_JOB_NAME:
        request: Mapping[str, Any] = run.run_config
        try:
            dataset, days = requested_days(
                datasets, request.get("dataset"), request["start_date"], request["end_date"]
            )
        except (RequestError, KeyError):
            return  # the request was rejected, so there was no batch
        resync = request.get("already_synced") == "resync"
        yield BatchSpec(key, dataset.name, days, run.run_id, who, resync)
        return
    for dataset in datasets:
        if run.job_name == tags.job_name_of(dataset.name) or (
            dg.AssetKey(dataset.name) in (run.asset_selection or ())
        ):
            days = days_of_run(run) or []
            yield BatchSpec(key, dataset.name, days, run.run_id, who, resync=True)


def _why_ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    if run.status is dg.DagsterRunStatus.CANCELED:
        return describe_cancellation(instance, run)
    return f"run {run.run_id} ended with status {run.status.value} without recording its days"
