"""Launch runs through the product's run launcher, in a process that replaces Dagster's daemon.

`Launcher` starts that process, which forks runs from a fork server and has a code server for
Dagster's default launcher; `LaunchedRun` is the process of a run. Does not queue runs: a requested
run is launched at once.
"""

import json
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import psutil

from sync_pipeline.dagster_client import tags
from sync_pipeline.dagster_client.tags import BATCH_JOB_NAME, LOCATION, REPOSITORY
from sync_pipeline.orchestration.dagster.internals import (
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    ReconstructableRepository,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from sync_pipeline_tests import fork_server
from sync_pipeline_tests.faults import workers
from sync_pipeline_tests.waiting import holds_within

if TYPE_CHECKING:
    from dagster._core.workspace.context import WorkspaceProcessContext

_MODULE = "sync_pipeline.definitions"
_SECONDS_TO_START = 60
_SECONDS_TO_END = 30


class LaunchedRun:
    """The process of a launched run; see `workers.Process`.

    A run that Dagster's default launcher launched has no known process.
    """

    def __init__(self, instance: dg.DagsterInstance, key: str, number: int) -> None:
        self._instance = instance
        self._key = key
        self._number = number  # of the runs with this batch key

    @property
    def pid(self) -> int:
        """The PID of the run's process; wait for it if the run has not been launched yet.

        Raises ProcessLookupError if the run was not forked.
        """
        holds_within(lambda: self._pid() or self._is_finished(), _SECONDS_TO_START)
        pid = self._pid()
        if pid is None:
            raise ProcessLookupError(f"the run of {self._key} was not forked")
        return pid

    @property
    def is_forked(self) -> bool:
        """Whether the run was forked, and not launched by Dagster's default launcher."""
        return self._pid() is not None

    @property
    def status(self) -> dg.DagsterRunStatus | None:
        """The run's status in Dagster, or None if it has not been created yet."""
        run = self._run()
        return None if run is None else run.status

    def poll(self) -> int | None:
        """Return None while the run is running, then 0 if it succeeded, otherwise 1."""
        pid = self._pid()
        if _is_running(pid) if pid else not self._is_finished():
            return None
        return 0 if self.status is dg.DagsterRunStatus.SUCCESS else 1

    def wait(self, seconds: float | None) -> int | None:
        holds_within(lambda: self.poll() is not None, seconds or _SECONDS_TO_END)
        return self.poll()

    def send_signal(self, number: signal.Signals) -> bool:
        with suppress(ProcessLookupError):
            if _is_running(self.pid):
                os.kill(self.pid, number)
                return True
        return False

    def _run(self) -> dg.DagsterRun | None:
        """Return the run, or None if it has not been created yet."""
        with_key = dg.RunsFilter(tags={tags.BATCH_KEY_TAG: self._key})
        runs = self._instance.get_runs(with_key)  # newest first
        return runs[-1 - self._number] if len(runs) > self._number else None

    def _pid(self) -> int | None:
        run = self._run()
        value = run.tags.get(tags.RUN_PROCESS_TAG) if run is not None else None
        return int(json.loads(value)["pid"]) if value else None

    def _is_finished(self) -> bool:
        run = self._run()
        return run is not None and run.is_finished


def _is_running(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


class Launcher:
    """The process that launches runs, for one round."""

    def __init__(
        self, environment: Mapping[str, str], instance: dg.DagsterInstance, log: Path
    ) -> None:
        self._instance = instance
        self._launched: dict[str, int] = {}
        receiving, self._requests = os.pipe()
        forked = workers.fork(f"{__name__}:{main.__name__}", environment, log, [], receiving)
        os.close(receiving)
        self._worker = workers.Worker(forked, log)

    def launch(self, request: Mapping[str, Any]) -> workers.Worker:
        """Launch a run of the batch job; `request` is a `workers.job_request`."""
        key = request["batch_key"]
        number = self._launched.get(key, 0)
        self._launched[key] = number + 1
        os.write(self._requests, json.dumps(request).encode() + b"\n")
        return workers.Worker(LaunchedRun(self._instance, key, number), self._worker.log)

    def fork_server(self) -> psutil.Process:
        """Return the fork server from which runs are forked."""
        holds_within(self._worker.messages, _SECONDS_TO_START)
        return psutil.Process(self._worker.messages()[0]["fork_server"])

    def end(self) -> None:
        """Stop the process, its code server, its fork server and all runs."""
        os.close(self._requests)
        self._worker.process.wait(_SECONDS_TO_END)
        with suppress(ProcessLookupError):
            os.killpg(self._worker.pid, signal.SIGKILL)


def main() -> None:
    """Launch a run for each request on standard input, until it is closed.

    This is called in the forked process.
    """
    workers.end_with_parent()
    fork_server.fork_run_server()
    # These are imported late because they import gRPC, which does not survive a fork.
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget

    server = vars(multiprocessing.forkserver)["_forkserver"]
    sys.stdout.write(json.dumps({"fork_server": server._forkserver_pid}) + "\n")
    sys.stdout.flush()
    target = ModuleTarget(_MODULE, None, None, LOCATION)
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):
        for line in sys.stdin:
            # In a separate thread, because the fork server may be suspended.
            arguments = (json.loads(line), instance, workspace)
            threading.Thread(target=_launch, args=arguments, daemon=True).start()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # do not wait for Dagster's threads


def _launch(
    request: Mapping[str, Any], instance: dg.DagsterInstance, workspace: "WorkspaceProcessContext"
) -> None:
    repository = ReconstructableRepository.for_module(_MODULE, "defs")
    job = repository.get_reconstructable_job(BATCH_JOB_NAME)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name=_MODULE), LOCATION
    )
    run = instance.create_run_for_job(
        job.get_definition(),
        run_config=request["config"],
        tags={
            tags.BATCH_KEY_TAG: request["batch_key"],
            tags.TRIGGERED_BY_TAG: request["triggered_by"],
        },
        job_code_origin=job.get_python_origin(),
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(location, REPOSITORY), BATCH_JOB_NAME
        ),
    )
    try:
        instance.launch_run(run.run_id, workspace.create_request_context())
    except Exception:
        traceback.print_exc()
