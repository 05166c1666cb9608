"""Sensors that update records when runs end and backfills start, and that run the reconciler.

They cover what hooks cannot: runs that were cancelled or killed, and backfills before their first
run starts. Dagster has no sensor type for backfills, so one of these sensors polls for new ones.
All sensors are idempotent and may run late, because the record of a batch is computed from its
days. Does not contain the recovery itself: see `recovery/`.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.orchestration.dagster.cancellation import describe_cancellation
from sync_pipeline.orchestration.dagster.internals import BulkActionsFilter, BulkActionStatus
from sync_pipeline.orchestration.dagster.storage import pool_connections
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.orchestration.recovery.records import (
    close_run,
    open_backfill,
)
from sync_pipeline.orchestration.recovery.target_cleanup import process_outbox
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.connection import connect_tracking, tracking_transaction
from sync_pipeline.tracking.state import corrections

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_OVERLAP = timedelta(minutes=5)  # a backfill is stored slightly later than its timestamp
_SECONDS_BETWEEN_TICKS = 5


def build_sensors(datasets: Sequence[Dataset]) -> list[dg.SensorDefinition]:
    """Return the sensors that keep the records of `datasets` accurate."""
    return [
        _run_sensor(dg.DagsterRunStatus.SUCCESS, _success_text),
        _run_sensor(dg.DagsterRunStatus.FAILURE, _failure_text),
        _run_sensor(dg.DagsterRunStatus.CANCELED, _cancelled_text),
        _backfill_sensor(datasets),
        _reconcile_sensor(datasets),
    ]


def _run_sensor(
    status: dg.DagsterRunStatus,
    text: Callable[[dg.RunStatusSensorContext], str],
) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        run_status=status,
        name=f"record_run_{status.value.lower()}",
        description=f"Close the records of runs that ended with status {status.value}.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=_SECONDS_BETWEEN_TICKS,
    )
    def record_run(context: dg.RunStatusSensorContext) -> dg.SkipReason:
        run = context.dagster_run
        settings = current_settings()
        with closing(connect_tracking(settings, "records")) as connection:
            recorded = process_outbox(connection, context.instance, settings, of_run=run.run_id)
            for correction in recorded:
                with connection, connection.cursor() as cursor:
                    corrections.write(cursor, correction)
            with connection, connection.cursor() as cursor:
                close_run(cursor, context.instance, run, text(context))
        return dg.SkipReason(f"closed the records of run {run.run_id} with status {status.value}")

    return record_run


def _success_text(context: dg.RunStatusSensorContext) -> str:
    return f"run {context.dagster_run.run_id} succeeded without syncing this day"


def _failure_text(context: dg.RunStatusSensorContext) -> str:
    message = context.dagster_event.message or "no message"
    if "from outside the execution context" in message:  # in Dagster's message for a killed process
        return f"run {context.dagster_run.run_id} was lost: its process was killed or crashed"
    return f"run {context.dagster_run.run_id} failed: {one_line(SyncError(message))}"


def _cancelled_text(context: dg.RunStatusSensorContext) -> str:
    return describe_cancellation(context.instance, context.dagster_run)


def _backfill_sensor(datasets: Sequence[Dataset]) -> dg.SensorDefinition:
    @dg.sensor(
        name="record_backfills",
        description="Open the record of each backfill before its first run starts.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=_SECONDS_BETWEEN_TICKS,
    )
    def record_backfills(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(timezone.utc)
        since = datetime.fromisoformat(context.cursor) if context.cursor else now
        with tracking_transaction(current_settings()) as cursor:
            opened = _open_backfills(cursor, context.instance, datasets, since)
        context.update_cursor(now.isoformat())
        return dg.SkipReason(f"opened records for backfills: {', '.join(opened) or 'none'}")

    return record_backfills


def _reconcile_sensor(datasets: Sequence[Dataset]) -> dg.SensorDefinition:
    @dg.sensor(
        name="reconcile",
        description="Compare the records with Dagster, workers and databases, and correct them.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=_SECONDS_BETWEEN_TICKS,
    )
    def reconcile(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        pool_connections(context.instance)
        position = ReconcilerCursor.read(context.cursor)
        reconciler = Reconciler(context.instance, current_settings(), datasets, position)
        corrected = reconciler.run_once()
        context.update_cursor(position.to_json())
        for error in reconciler.errors:
            context.log.error(f"a reconciler step failed: {error}")
        for correction in corrected:
            context.log.warning(f"{correction.what}: {correction.why} ({correction.about})")
        return dg.SkipReason(f"{len(corrected)} corrections")

    return reconcile


def _open_backfills(
    cursor: "Cursor",
    instance: dg.DagsterInstance,
    datasets: Sequence[Dataset],
    since: datetime,
) -> list[str]:
    """Open the records of backfills that are running or were created after `since`; return their
    IDs."""
    recent = BulkActionsFilter(created_after=since - _OVERLAP)
    running = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    found = {
        backfill.backfill_id: backfill
        for filters in (recent, running)
        for backfill in instance.get_backfills(filters=filters)
    }
    for backfill in found.values():
        open_backfill(cursor, instance, backfill, datasets)
    return list(found)
