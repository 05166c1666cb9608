"""Describe who or what cancelled a run, for its record."""

import os

import dagster as dg

from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.tags import COMMAND_LINE_SUFFIX
from sync_pipeline.orchestration.dagster.batch_key import triggered_by

_command: int | None = None


def started_by_command() -> None:
    """Remember that a `sync-pipeline` command is the parent of this process and may cancel it."""
    global _command
    _command = os.getppid()


def describe_interrupt(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return who or what interrupted the run `run_id`, which is running in this process."""
    try:
        run = instance.get_run_by_id(run_id)
    except Exception:  # an error in Dagster's storage must not replace the interrupt
        run = None
    if run is None:
        return f"cancelled: run {run_id}"
    if run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
        return describe_cancellation(instance, run)
    if _command is None:
        return f"cancelled: the process of run {run_id} received a signal"
    user = triggered_by(run).removesuffix(COMMAND_LINE_SUFFIX)
    if os.getppid() != _command:
        return f"cancelled: the command started by {user} was killed"
    return f"cancelled by {user} at the command line"


def describe_cancellation(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return text that says whether `run` or its backfill was cancelled in Dagster."""
    backfill_id = run.tags.get(tags.BACKFILL_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    if backfill is not None and backfill.status.value.startswith("CANCEL"):
        return f"cancelled in Dagster: backfill {backfill_id}"
    return f"cancelled in Dagster: run {run.run_id}"
