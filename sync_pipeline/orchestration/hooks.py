"""Success and failure hooks that update the record of a batch when a step ends.

They run for every step of the asset and of the batch job, including the steps of backfills launched
in the Dagster UI. A step records its days itself; the hooks cover what it cannot record, such as a
failure before its first day. Dagster does not run them if a run is cancelled or killed: see
`sensors.py` and `recovery/reconciler.py`.
"""

import dagster as dg

from sync_pipeline.errors import one_line
from sync_pipeline.orchestration.recovery.records import close_step, project_batches
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.connection import tracking_transaction


def sync_hooks() -> set[dg.HookDefinition]:
    """Return the success hook and the failure hook for steps that sync days."""

    @dg.success_hook(name="record_step_success")
    def record_step_success(context: dg.HookContext) -> None:
        with tracking_transaction(current_settings()) as cursor:
            project_batches(cursor, context.instance, _run_of(context))

    @dg.failure_hook(name="record_step_failure")
    def record_step_failure(context: dg.HookContext) -> None:
        error = context.op_exception
        text = one_line(error) if error is not None else "the step failed"
        with tracking_transaction(current_settings()) as cursor:
            close_step(cursor, context.instance, _run_of(context), text)

    return {record_step_success, record_step_failure}


def _run_of(context: dg.HookContext) -> dg.DagsterRun:
    run = context.instance.get_run_by_id(context.run_id)
    if run is None:
        raise dg.Failure(f"run {context.run_id} was not found in Dagster's storage")
    return run
