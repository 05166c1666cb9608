"""Cancel a run when the command that launched it ends, and describe who or what cancelled a run.

The description is for the run's records.
"""

import logging
import os
import signal
import threading
from typing import IO

import dagster as dg

from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.tags import COMMAND_LINE_SUFFIX
from sync_pipeline.errors import one_line
from sync_pipeline.orchestration.dagster.batch_key import triggered_by

_logger = logging.getLogger(__name__)


def cancel_with_command(
    instance: dg.DagsterInstance, run: dg.DagsterRun, messages: IO[bytes]
) -> None:
    """Cancel `run` when the command that launched it sends a line or ends.

    The run is executing in this process. `messages` is an unbuffered pipe from the command. Like a
    run launcher that terminates a run, this function first reports to Dagster that the run is being
    cancelled, and then interrupts the process once. A signal sent by the command (or by the kernel,
    when the command dies) could arrive twice, and the second one would interrupt the cleanup that
    the first one started.
    """
    user = triggered_by(run).removesuffix(COMMAND_LINE_SUFFIX)

    def wait() -> None:
        if messages.readline():
            reason = f"cancelled by {user} at the command line"
        else:
            reason = f"cancelled: the command started by {user} was killed"
        try:
            current = instance.get_run_by_id(run.run_id)
            if current is None or current.is_finished:
                return
            instance.add_run_tags(run.run_id, {tags.CANCELLATION_TAG: reason})
            instance.report_run_canceling(run, reason)
        except Exception as error:  # Dagster's storage is unavailable
            _logger.warning("could not report the cancellation to Dagster: %s", one_line(error))
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
    return f"cancelled: the process of run {run_id} received a signal"


def describe_cancellation(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return text that says how `run` was cancelled: by the command that launched it, or in Dagster
    (the run itself or its backfill)."""
    reason = run.tags.get(tags.CANCELLATION_TAG)
    if reason and run.parent_run_id is None:  # a re-executed run has the tags of the run before it
        return reason
    backfill_id = run.tags.get(tags.BACKFILL_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    if backfill is not None and backfill.status.value.startswith("CANCEL"):
        return f"cancelled in Dagster: backfill {backfill_id}"
    return f"cancelled in Dagster: run {run.run_id}"
