"""Run a dataset's asset over a day range in this process, as Dagster's run launcher does.

The counterpart of `orchestration.run_batch` for assets. Reads the request as JSON from standard
input and prints the run ID to standard output.
"""

import json
import sys

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._grpc.impl import core_execute_run
from dagster._utils.interrupts import capture_interrupts

from sync_pipeline.dagster_client import tags


def main() -> int:
    """Run the request read from standard input; return 0 if it succeeded, otherwise 1."""
    request = json.loads(sys.stdin.readline())
    config = request["config"]
    repository = ReconstructableRepository.for_module("sync_pipeline.definitions", "defs")
    job = repository.get_reconstructable_job(tags.job_name_of(config["dataset"]))
    with capture_interrupts(), dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(
            job.get_definition(),
            tags={
                tags.BATCH_KEY_TAG: request["batch_key"],
                tags.TRIGGERED_BY_TAG: request["triggered_by"],
                tags.RANGE_START_TAG: config["start_date"],
                tags.RANGE_END_TAG: config["end_date"],
            },
            job_code_origin=job.get_python_origin(),
        )
        sys.stdout.write(json.dumps({"run_id": run.run_id}) + "\n")
        sys.stdout.flush()
        for event in core_execute_run(job, run, instance, inject_env_vars=False):
            error = event.step_failure_data.error if event.is_step_failure else None
            if error is not None and error.cls_name == DagsterExecutionInterruptedError.__name__:
                instance.report_run_canceling(run, "Cancelled by a signal.")
        ended = instance.get_run_by_id(run.run_id)
    return 0 if ended is not None and ended.status is dg.DagsterRunStatus.SUCCESS else 1
