"""Run a dataset's asset in this process, as Dagster's run launcher does.

The counterpart of `orchestration.run_batch` for assets. Reads a request as JSON from standard
input: a day range or a single day to run, or a time at which to evaluate the dataset's schedule and
run what it requests. Prints a JSON message for each run.
"""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG, SCHEDULED_EXECUTION_TIME_TAG
from dagster._grpc.impl import core_execute_run
from dagster._utils.interrupts import capture_interrupts

from sync_pipeline.dagster_client import tags


def range_request(dataset: str, first: str, last: str, key: str) -> dict[str, Any]:
    """Return a request to run the asset over a day range, as batch `key`."""
    run_tags = {
        tags.BATCH_KEY_TAG: key,
        tags.RANGE_START_TAG: first,
        tags.RANGE_END_TAG: last,
    }
    return {"form": "range", "dataset": dataset, "tags": run_tags}


def day_request(dataset: str, day: str) -> dict[str, Any]:
    """Return a request to run the asset for a single day, without a batch."""
    return {"form": "day", "dataset": dataset, "tags": {PARTITION_NAME_TAG: day}}


def schedule_request(dataset: str, tick: datetime) -> dict[str, Any]:
    """Return a request to evaluate the dataset's schedule at `tick`."""
    return {"form": "schedule", "dataset": dataset, "tick": tick.isoformat()}


def main() -> int:
    """Run the request read from standard input; return 0 if all its runs succeeded, otherwise 1."""
    request = json.loads(sys.stdin.readline())
    repository = ReconstructableRepository.for_module("sync_pipeline.definitions", "defs")
    with capture_interrupts(), dg.DagsterInstance.get() as instance:
        code = 0
        for run_tags in _tags_of_runs(request, repository, instance):
            status = _run(request["dataset"], run_tags, repository, instance)
            if status is not dg.DagsterRunStatus.SUCCESS:
                code = 1
            if status is dg.DagsterRunStatus.CANCELED:
                break
    return code


def _tags_of_runs(
    request: dict[str, Any], repository: ReconstructableRepository, instance: dg.DagsterInstance
) -> Iterator[dict[str, str]]:
    """Yield the tags of each run to start."""
    if request["form"] == "schedule":
        yield from _scheduled(request, repository, instance)
    else:
        yield request["tags"] | {tags.TRIGGERED_BY_TAG: "a fault round"}


def _scheduled(
    request: dict[str, Any], repository: ReconstructableRepository, instance: dg.DagsterInstance
) -> Iterator[dict[str, str]]:
    """Yield the tags of the runs that the schedule requests, as Dagster's scheduler sets them.

    Like the scheduler, leaves out a run whose run key exists.
    """
    definition = repository.get_definition()
    schedule = definition.get_schedule_def(f"{request['dataset']}_nightly")
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime.fromisoformat(request["tick"]),
        repository_def=definition,
    )
    data = schedule.evaluate_tick(context)
    if data.skip_message:
        _print(skipped=data.skip_message)
    for requested in data.run_requests or []:
        run_tags = {**requested.tags, SCHEDULED_EXECUTION_TIME_TAG: request["tick"]}
        if requested.run_key:
            run_tags[RUN_KEY_TAG] = requested.run_key
            same = {name: run_tags[name] for name in (tags.SCHEDULE_TAG, RUN_KEY_TAG)}
            if instance.get_runs(dg.RunsFilter(tags=same), limit=1):
                continue
        yield run_tags


def _run(
    dataset: str,
    run_tags: dict[str, str],
    repository: ReconstructableRepository,
    instance: dg.DagsterInstance,
) -> dg.DagsterRunStatus | None:
    job = repository.get_reconstructable_job(tags.job_name_of(dataset))
    run = instance.create_run_for_job(
        job.get_definition(), tags=run_tags, job_code_origin=job.get_python_origin()
    )
    in_range = tags.RANGE_START_TAG in run_tags
    _print(
        run_id=run.run_id,
        batch_key=run_tags.get(tags.BATCH_KEY_TAG) or (run.run_id if in_range else None),
    )
    for event in core_execute_run(job, run, instance, inject_env_vars=False):
        error = event.step_failure_data.error if event.is_step_failure else None
        if error is not None and error.cls_name == DagsterExecutionInterruptedError.__name__:
            instance.report_run_canceling(run, "Cancelled by a signal.")
    ended = instance.get_run_by_id(run.run_id)
    return None if ended is None else ended.status


def _print(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
