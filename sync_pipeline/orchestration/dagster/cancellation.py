"""Who or what cancelled a run, in the words of the record."""

import os

import dagster as dg

from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.tags import COMMAND_LINE_SUFFIX
from sync_pipeline.orchestration.dagster.batch_key import triggered_by

_OWNER = os.getppid()  # the command, in a process that one has launched


def why_interrupted(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return who interrupted the run `run_id`, which is at work in this process."""
    try:
        run = instance.get_run_by_id(run_id)
    except Exception:  # the interrupt goes on its way even if Dagster's storage is away
        run = None
    if run is None:
        return f"cancelled: run {run_id}"
    if run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
        return cancelled_in_dagster(instance, run)
    who = triggered_by(run)
    if who.endswith(COMMAND_LINE_SUFFIX):
        user = who.removesuffix(COMMAND_LINE_SUFFIX)
        if os.getppid() != _OWNER:
            return f"cancelled: the command that {user} had launched it by was killed"
        return f"cancelled by {user} at the command line"
    return f"cancelled: the process of run {run_id} was told to end"


def cancelled_in_dagster(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return what cancelled `run` in Dagster: its backfill's end, or its own."""
    backfill_id = run.tags.get(tags.BACKFILL_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    if backfill is not None and backfill.status.value.startswith("CANCEL"):
        return f"cancelled in Dagster: backfill {backfill_id}"
    return f"cancelled in Dagster: run {run.run_id}"
