"""The process that runs a batch launched from the command line.

Started by `cli/launch.py` as `python -m sync_pipeline.orchestration.run_batch`, with a request as a
line of JSON on standard input; another line, or the end of the input, cancels the batch. The
command starts this process before it has the settings, so the request contains them. Prints one
JSON object per line: `{"run_id": …}` when the run is created, and `{"error": …, "exit_code": …}` if
it cannot be created or continued. Returns the exit code for the command. The process runs the batch
job itself, so Dagster is imported only once; the Dagster UI shows the run like any other.
"""

import json
import logging
import os
import select
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import dagster as dg
import psycopg2
from sqlalchemy.exc import DBAPIError

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.requests import requested_days
from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.tags import LOCATION, REPOSITORY
from sync_pipeline.errors import RequestError, SyncError, one_line
from sync_pipeline.exit_codes import ExitCode, exit_code_of
from sync_pipeline.orchestration.component import translate_load_errors
from sync_pipeline.orchestration.dagster.batch_key import running_runs
from sync_pipeline.orchestration.dagster.cancellation import (
    cancel_with_command,
    describe_cancellation,
)
from sync_pipeline.orchestration.dagster.internals import (
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    ReconstructableRepository,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    capture_interrupts,
    core_execute_run,
)
from sync_pipeline.orchestration.dagster.storage import open_instance, speed_up_run
from sync_pipeline.orchestration.project import load_datasets
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.settings import DAGSTER_STORAGE_URL, Settings, current_settings
from sync_pipeline.tracking.worker.tracker import Tracker

_MODULE = "sync_pipeline.definitions"
_ATTRIBUTE = "defs"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A request from the command line: the config of the batch job, and who triggered it. If
    `retry` is true, the existing batch with the key `batch_key` is retried. `environment` replaces
    the environment variables of this process."""

    config: dict[str, Any]
    batch_key: str
    triggered_by: str
    retry: bool
    environment: Mapping[str, str]


def main() -> int:
    """Run the batch requested on standard input; return the exit code."""
    messages = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  open until the end
    line = messages.readline()
    if not line.startswith(b"{"):  # the command was cancelled, or has ended
        return ExitCode.CANCELLED
    request = Request(**json.loads(line))
    os.environ.clear()
    os.environ.update(request.environment)
    with _redirect_stdout() as output, capture_interrupts():
        try:
            return _run(request, current_settings(), messages, output)
        except SyncError as error:
            text, code = one_line(error), exit_code_of(error)
        except Exception as error:
            traceback.print_exc()
            text, code = _describe(error), ExitCode.UNAVAILABLE
        _write(output, error=text, exit_code=code)
        return code


def _run(request: Request, settings: Settings, messages: IO[bytes], output: IO[str]) -> int:
    with translate_load_errors(settings.project_dir):
        datasets = load_datasets(settings.project_dir)
    config = request.config
    dataset, _ = requested_days(
        datasets,
        config.get("dataset"),
        config["start_date"],
        config["end_date"],
        retry=request.retry,
    )
    with open_instance(settings) as instance:
        speed_up_run(instance)
        _reconcile(instance, settings, datasets)
        if request.retry:
            _refuse_if_running(instance, request.batch_key)
        repository = ReconstructableRepository.for_module(_MODULE, _ATTRIBUTE)
        job = repository.get_reconstructable_job(tags.BATCH_JOB_NAME)
        if select.select([messages], [], [], 0)[0]:  # the command cancelled the batch, or ended
            return ExitCode.CANCELLED
        run = instance.create_run_for_job(
            job.get_definition(),
            run_config=config,
            tags={
                tags.BATCH_KEY_TAG: request.batch_key,
                tags.TRIGGERED_BY_TAG: request.triggered_by,
            },
            job_code_origin=job.get_python_origin(),
            remote_job_origin=_origin(),
        )
        _write(
            output,
            run_id=run.run_id,
            dataset=dataset.name,
        )
        for event in core_execute_run(job, run, instance, inject_env_vars=False):
            if event.event_type is dg.DagsterEventType.RUN_START:
                cancel_with_command(instance, run, messages)
        ended = instance.get_run_by_id(run.run_id)
        if ended is not None and ended.status is dg.DagsterRunStatus.CANCELED:
            # No step closes the batch if the run was interrupted before the step that syncs days.
            with Tracker(settings, run_id=run.run_id) as tracker:
                reason = describe_cancellation(instance, ended)
                tracker.mark_batch_not_run(request.batch_key, dataset.name, reason)
            return ExitCode.CANCELLED
    succeeded = ended is not None and ended.status is dg.DagsterRunStatus.SUCCESS
    return ExitCode.OK if succeeded else ExitCode.FAILED


def _reconcile(
    instance: dg.DagsterInstance, settings: Settings, datasets: Sequence[Dataset]
) -> None:
    """Correct any records that a killed process left open, in case no daemon is running."""
    try:
        Reconciler(instance, settings, datasets, ReconcilerCursor()).run_once()
    except (SyncError, psycopg2.Error) as error:
        _logger.warning("could not compare the records with Dagster: %s", one_line(error))


def _refuse_if_running(instance: dg.DagsterInstance, batch_key: str) -> None:
    runs = running_runs(instance).get(batch_key)
    if runs:
        raise RequestError(
            f"batch {batch_key} is running in run {runs[0].run_id}; follow it with "
            f"sync-pipeline status {batch_key} --follow, or cancel it first"
        )


def _describe(error: BaseException) -> str:
    """Return an unexpected error as one line; if Dagster's storage raised it, the line says so."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError):
            reason = one_line(cause.orig or cause)
            return (
                f"Dagster's storage returned an error: {reason} (check {DAGSTER_STORAGE_URL}; by "
                "default the storage is the schema dagster in the target database)"
            )
        cause = cause.__cause__ or cause.__context__
    return one_line(error)


def _origin() -> RemoteJobOrigin:
    """Return the origin of the job, so that the Dagster UI shows the run under this job."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name=_MODULE), LOCATION
    )
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), tags.BATCH_JOB_NAME)


@contextmanager
def _redirect_stdout() -> Iterator[IO[str]]:
    """Yield standard output; whatever Dagster and libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as output:
        os.dup2(2, 1)
        yield output


def _write(output: IO[str], **message: object) -> None:
    output.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    sys.exit(main())
