"""Entering in the records what happened while they were away, once they are back.

Two things tell of it here: what workers told Dagster of days (`unrecorded`), and runs that ended
without the record of their batch. The third is the outbox (`at_target`). Doing it twice is doing it
once.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import RequestError
from sync_pipeline.orchestration.batch_job import requested_days
from sync_pipeline.orchestration.dagster import run_times
from sync_pipeline.orchestration.dagster.batch_key import batch_key_of, triggered_by
from sync_pipeline.orchestration.dagster.cancellation import cancelled_in_dagster
from sync_pipeline.orchestration.dagster.internals import FINISHED_STATUSES, RunRecord
from sync_pipeline.orchestration.dagster.partitions import days_of_run
from sync_pipeline.orchestration.recovery.cursor import ReadPosition, ReconcilerCursor
from sync_pipeline.orchestration.recovery.observations import UnrecordedDay, told_by_run, unheard
from sync_pipeline.sync.result import Outcome
from sync_pipeline.tracking.models import LateFailure, LateSuccess, NewBatch
from sync_pipeline.tracking.state import attempts, batches, corrections, late_results
from sync_pipeline.tracking.state.corrections import Correction

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_logger = logging.getLogger(__name__)
_MAX_AT_ONCE = 500  # a look
_SETTLED_SECONDS = 10.0  # by then, no run that ended earlier will appear any more


class Entry(Enum):
    """What became of a day that was told."""

    KNOWN = "it was recorded already"
    ENTERED = "it is recorded now"
    WAITS = "another run is at the day; it is entered later"


def enter_days(
    connection: "Connection",
    instance: dg.DagsterInstance,
    datasets: Sequence[Dataset],
    memory: ReconcilerCursor,
) -> Iterator[Correction]:
    """Enter the days that Dagster was told of since the last look; yield what was not known yet."""
    for dataset in datasets:
        heard = memory.heard.setdefault(dataset.name, ReadPosition())
        for storage_id, told in unheard(instance, dataset, heard):
            with connection, connection.cursor() as cursor:
                entry = enter(cursor, instance, told)
            if entry is not Entry.WAITS:
                heard.done.append(storage_id)
            if entry is Entry.ENTERED:
                yield correction_of(told)


def enter_days_of_run(cursor: "Cursor", instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Enter the days that `run`, which is over, told Dagster of, before the rest of it is closed.

    Commits after each, so that none of them is held for long.
    """
    for told in told_by_run(instance, run.run_id):
        if enter(cursor, instance, told) is Entry.ENTERED:
            corrections.write(cursor, correction_of(told))
        cursor.connection.commit()


def enter(
    cursor: "Cursor", instance: dg.DagsterInstance, day: UnrecordedDay, *, told: bool = True
) -> Entry:
    """Enter a day; `told` says that Dagster knows of it."""
    late_results.lock_late_results(cursor)
    if attempts.is_recorded(cursor, day.run_id, day.dataset, day.day, day.outcome.value):
        return Entry.KNOWN
    record = instance.get_run_record_by_id(day.run_id)
    ago = run_times.since(run_times.began(record) if record else day.started_at.timestamp())
    batch = batches.open_batch(cursor, day.batch, ago=ago) if day.batch else None
    about: dict[str, Any] = {
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
            cursor, LateSuccess(**about, counts=day.counts, reported=told)
        )
    elif day.outcome is Outcome.FAILED:
        error = day.error or "the day failed"
        done = late_results.record_late_failure(cursor, LateFailure(**about, error=error))
    else:
        done = True
        if batch is not None:
            attempts.skip(cursor, batch.id, [day.day], day.run_id)
    return Entry.ENTERED if done else Entry.WAITS


def correction_of(
    day: UnrecordedDay, why: str = "the records were away when it ended"
) -> Correction:
    """Return what is noted of a day that was entered."""
    return Correction(
        f"a day that ended as {day.outcome.value} was recorded afterwards",
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
    memory: ReconcilerCursor,
) -> Iterator[Correction]:
    """Open, and close, the records of batches whose runs ended without one; yield what was done."""
    if memory.runs_after is None:
        memory.runs_after = time.time()  # what ended before the first look is history
    since = memory.runs_after - _SETTLED_SECONDS
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
                    cursor, new, ago=run_times.since(run_times.began(record))
                )
                attempts.mark_days_not_run(
                    cursor,
                    batch.id,
                    _why_ended(instance, record.dagster_run),
                    ago=run_times.since(run_times.ended(record)),
                )
            yield Correction(
                "the record of a batch was opened after its end",
                "its run ended without having opened it",
                dataset=new.dataset,
                batch_key=new.batch_key,
                run_id=new.run_id,
            )
        memory.runs_after = max(memory.runs_after, record.update_timestamp.timestamp())


def _batches_of(
    instance: dg.DagsterInstance, record: RunRecord, datasets: Sequence[Dataset]
) -> Iterator[NewBatch]:
    """Yield the batch of a run in each of its datasets, as the run itself would open it."""
    run = record.dagster_run
    key = batch_key_of(run, instance)
    # The record of a backfill is opened by its sensor, which tries until it can.
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
            return  # refused: it never was a batch
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
        return cancelled_in_dagster(instance, run)
    return f"run {run.run_id} ended {run.status.value} without having recorded its days"
