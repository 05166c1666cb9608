"""Success and failure hooks that update the record of a batch when a step ends.

They run for every step that syncs days, including the steps of backfills launched in the Dagster
UI. A step records its days itself; the hooks cover what it cannot record, such as a failure before
its first day. Dagster does not run them if a run is cancelled or killed: see `sensors.py` and
`recovery/reconciler.py`.
"""

import dagster as dg

from sync_pipeline.errors import one_line
from sync_pipeline.orchestration.recovery.records import close_step, project_batches
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.connection import tracking_transaction


@dg.success_hook
def record_step_success(context: dg.HookContext) -> None:
    """Compute the records of the run's batches."""
    with tracking_transaction(current_settings()) as cursor:
        project_batches(cursor, context.instance, _run_of(context))


@dg.failure_hook
def record_step_failure(context: dg.HookContext) -> None:
    """Record the days that the step has not finished as failed, with the step's error."""
    error = context.op_exception
    text = one_line(error) if error is not None else "the step failed"
    with tracking_transaction(current_settings()) as cursor:
        close_step(cursor, context.instance, _run_of(context), text)


SYNC_HOOKS = {record_step_success, record_step_failure}  # of a step that syncs days


def _run_of(context: dg.HookContext) -> dg.DagsterRun:
    run = context.instance.get_run_by_id(context.run_id)
    if run is None:
        raise dg.Failure(f"run {context.run_id} was not found in Dagster's storage")
    return run
