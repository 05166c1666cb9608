"""Cancel a run when its command ends, and describe who or what cancelled a run, for its record."""

import os
import signal
import threading
from typing import IO

import dagster as dg

from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.tags import COMMAND_LINE_SUFFIX
from sync_pipeline.orchestration.dagster.batch_key import triggered_by

_CANCELLED_BY_COMMAND = "cancelled by {user} at the command line"
_COMMAND_WAS_KILLED = "cancelled: the command started by {user} was killed"
_reason: str | None = None


def cancel_with_command(messages: IO[bytes]) -> None:
    """Cancel this process's run as soon as the command that started it sends a line or ends.

    `messages` is an unbuffered pipe from the command. The process sends itself a single signal. If
    the command (or the kernel, when the command dies) sent the signal instead, it could arrive
    twice, and the second signal would interrupt the cleanup that the first one started.
    """

    def wait() -> None:
        global _reason
        _reason = _CANCELLED_BY_COMMAND if messages.readline() else _COMMAND_WAS_KILLED
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="cancel-with-command", daemon=True).start()


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
    if _reason is None:
        return f"cancelled: the process of run {run_id} received a signal"
    return _reason.format(user=triggered_by(run).removesuffix(COMMAND_LINE_SUFFIX))


def describe_cancellation(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return text that says whether `run` or its backfill was cancelled in Dagster."""
    backfill_id = run.tags.get(tags.BACKFILL_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    if backfill is not None and backfill.status.value.startswith("CANCEL"):
        return f"cancelled in Dagster: backfill {backfill_id}"
    return f"cancelled in Dagster: run {run.run_id}"
