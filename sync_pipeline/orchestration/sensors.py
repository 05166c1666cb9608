"""Sensors: what no hook can tell. Runs that ended, in whatever way, and backfills.

Dagster has no sensor for backfills, so one polls them: it opens the record of a backfill launched
in the UI before its first run starts. What of it no run could close, the reconciler does. Each
sensor may fire twice or late without harm, because records are projections of their days.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.orchestration.dagster.cancellation import cancelled_in_dagster
from sync_pipeline.orchestration.dagster.internals import BulkActionsFilter, BulkActionStatus
from sync_pipeline.orchestration.dagster.storage import keep_connections_open
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.late_results import enter_days_of_run
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.orchestration.recovery.records import (
    close_run,
    open_backfill,
)
from sync_pipeline.orchestration.recovery.target import empty_outbox
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.connection import connect_tracking, tracking_transaction
from sync_pipeline.tracking.state import corrections

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_OVERLAP = timedelta(minutes=5)  # a backfill that was stored a moment after it was stamped
_SECONDS_BETWEEN_TICKS = 5


def build_sensors(datasets: Sequence[Dataset]) -> list[dg.SensorDefinition]:
    """Return the sensors that keep the records of these datasets true."""
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
        description=f"Close what a run that ended {status.value} left open in daily_sync_status.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=_SECONDS_BETWEEN_TICKS,
    )
    def record_run(context: dg.RunStatusSensorContext) -> dg.SkipReason:
        run = context.dagster_run
        current = current_settings()
        with closing(connect_tracking(current, "records")) as connection:
            about = (connection, context.instance, current)
            for correction in empty_outbox(*about, of_run=run.run_id):
                with connection, connection.cursor() as cursor:
                    corrections.write(cursor, correction)
            with connection, connection.cursor() as cursor:
                enter_days_of_run(cursor, context.instance, run)
                close_run(cursor, context.instance, run, text(context))
        return dg.SkipReason(f"run {run.run_id} ended {status.value}; its records are closed")

    return record_run


def _success_text(context: dg.RunStatusSensorContext) -> str:
    return f"run {context.dagster_run.run_id} ended as a success without it"


def _failure_text(context: dg.RunStatusSensorContext) -> str:
    message = context.dagster_event.message or "no message"
    if "from outside the execution context" in message:  # Dagster's word for it
        return f"run {context.dagster_run.run_id} was lost: its process was killed or crashed"
    return f"run {context.dagster_run.run_id} failed: {one_line(SyncError(message))}"


def _cancelled_text(context: dg.RunStatusSensorContext) -> str:
    return cancelled_in_dagster(context.instance, context.dagster_run)


def _backfill_sensor(datasets: Sequence[Dataset]) -> dg.SensorDefinition:
    @dg.sensor(
        name="record_backfills",
        description="Open the record of a backfill before its first run starts.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=_SECONDS_BETWEEN_TICKS,
    )
    def record_backfills(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(timezone.utc)
        since = datetime.fromisoformat(context.cursor) if context.cursor else now
        with tracking_transaction(current_settings()) as cursor:
            opened = _open(cursor, context.instance, datasets, since)
        context.update_cursor(now.isoformat())
        return dg.SkipReason(f"backfills with a record: {', '.join(opened) or 'none new'}")

    return record_backfills


def _reconcile_sensor(datasets: Sequence[Dataset]) -> dg.SensorDefinition:
    @dg.sensor(
        name="reconcile",
        description="Compare the records with what is really at work, and make them agree.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=_SECONDS_BETWEEN_TICKS,
    )
    def reconcile(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        keep_connections_open(context.instance)
        memory = ReconcilerCursor.read(context.cursor)
        reconciler = Reconciler(context.instance, current_settings(), datasets, memory)
        corrected = reconciler.look()
        context.update_cursor(memory.to_cursor())
        for error in reconciler.errors:
            context.log.error(f"a part of the comparison failed: {error}")
        for correction in corrected:
            context.log.warning(f"{correction.what}: {correction.why} ({correction.about})")
        return dg.SkipReason(f"{len(corrected)} corrections")

    return reconcile


def _open(
    cursor: "Cursor",
    instance: dg.DagsterInstance,
    datasets: Sequence[Dataset],
    since: datetime,
) -> list[str]:
    """Open the records of the backfills that came since, and of those at work; return their ids."""
    recent = BulkActionsFilter(created_after=since - _OVERLAP)
    at_work = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    found = {
        backfill.backfill_id: backfill
        for filters in (recent, at_work)
        for backfill in instance.get_backfills(filters=filters)
    }
    for backfill in found.values():
        open_backfill(cursor, instance, backfill, datasets)
    return list(found)
