"""Record late results: what happened while the tracking tables were unavailable.

Records the results that workers stored in Dagster (`dagster/observations.py`), and opens the
records of batches whose runs ended without opening one. All functions are idempotent. Does not
read the outbox: see `target_cleanup.py`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from enum import Enum
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
from sync_pipeline.orchestration.dagster.observations import (
    ReadPosition,
    UnrecordedDay,
    observed_by_run,
    unread,
)
from sync_pipeline.orchestration.dagster.partitions import days_of_run
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.sync.result import Outcome
from sync_pipeline.tracking.models import LateFailure, LateSuccess, NewBatch
from sync_pipeline.tracking.state import attempts, batches, corrections, late_results
from sync_pipeline.tracking.state.corrections import Correction

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SETTLED_SECONDS = 10.0  # a run may become visible this long after a run that ended later


class Recorded(Enum):
    """Whether and when a late result is recorded."""

    BEFORE = "it had been recorded before"
    NOW = "it was recorded"
    LATER = "another run is syncing the day; this result will be recorded once that run has ended"


def record_late_results(
    connection: "Connection",
    instance: dg.DagsterInstance,
    datasets: Sequence[Dataset],
    state: ReconcilerCursor,
) -> Iterator[Correction]:
    """Record the results that workers stored in Dagster since the last run of the reconciler; yield
    a correction for each that was not recorded before."""
    for dataset in datasets:
        position = state.positions.setdefault(dataset.name, ReadPosition())
        for storage_id, day in unread(instance, dataset, position):
            with connection, connection.cursor() as cursor:
                recorded = record_late_result(cursor, instance, day)
            if recorded is not Recorded.LATER:
                position.done.append(storage_id)
            if recorded is Recorded.NOW:
                yield correction_for(day)


def record_late_results_of_run(
    cursor: "Cursor", instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    """Record the results that `run`, which has ended, stored in Dagster.

    Call it before the run's remaining days are closed. Commits after each day, so that its locks
    are held only briefly.
    """
    for day in observed_by_run(instance, run.run_id):
        if record_late_result(cursor, instance, day) is Recorded.NOW:
            corrections.write(cursor, correction_for(day))
        cursor.connection.commit()


def record_late_result(
    cursor: "Cursor", instance: dg.DagsterInstance, day: UnrecordedDay, *, reported: bool = True
) -> Recorded:
    """Record the result of a day; `reported` says whether Dagster already has that result."""
    late_results.lock_late_results(cursor)
    if attempts.is_recorded(cursor, day.run_id, day.dataset, day.day, day.outcome.value):
        return Recorded.BEFORE
    record = instance.get_run_record_by_id(day.run_id)
    started = run_times.start_time(record) if record else day.started_at.timestamp()
    ago = run_times.seconds_since(started)
    batch = batches.open_batch(cursor, day.batch, ago=ago) if day.batch else None
    values: dict[str, Any] = {
        "dataset": day.dataset,
        "day": day.day,
        "run_id": day.run_id,
        "triggered_by": triggered_by(record.dagster_run) if record else None,
        "batch_id": batch.id if batch else None,
        "started_at": day.started_at,
        "ended_at": day.ended_at,
        "number": day.number,
    }
    if day.outcome is Outcome.SUCCESS and day.counts is not None:
        done = late_results.record_late_success(
            cursor, LateSuccess(**values, counts=day.counts, reported=reported)
        )
    elif day.outcome is Outcome.FAILED:
        error = day.error or "the day failed"
        done = late_results.record_late_failure(cursor, LateFailure(**values, error=error))
    else:
        done = True
        if batch is not None:
            attempts.skip(cursor, batch.id, [day.day], day.run_id)
    return Recorded.NOW if done else Recorded.LATER


def correction_for(
    day: UnrecordedDay, why: str = "the tracking tables were unavailable when it ended"
) -> Correction:
    """Return the correction for a day whose result was recorded late."""
    return Correction(
        f"recorded a late result: {day.outcome.value}",
        why,
        dataset=day.dataset,
        sync_date=day.day,
        batch_key=day.batch.batch_key if day.batch else None,
        run_id=day.run_id,
    )


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
                batch = batches.open_batch(
                    cursor, new, ago=run_times.seconds_since(run_times.start_time(record))
                )
                attempts.mark_days_not_run(
                    cursor,
                    batch.id,
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
) -> Iterator[NewBatch]:
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
        yield NewBatch(key, dataset.name, days, run.run_id, who, resync)
        return
    for dataset in datasets:
        if run.job_name == tags.job_name_of(dataset.name) or (
            dg.AssetKey(dataset.name) in (run.asset_selection or ())
        ):
            days = days_of_run(run) or []
            yield NewBatch(key, dataset.name, days, run.run_id, who, resync=True)


def _why_ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    if run.status is dg.DagsterRunStatus.CANCELED:
        return describe_cancellation(instance, run)
    return f"run {run.run_id} ended with status {run.status.value} without recording its days"
