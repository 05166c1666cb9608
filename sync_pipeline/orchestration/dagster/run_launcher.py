"""A run launcher for one machine that starts runs without importing Dagster again.

Dagster's default launcher starts a new interpreter for each run, which takes seconds to import
Dagster before the run begins. This launcher forks each run from a fork server: a process of
Python's `multiprocessing` that has imported Dagster and this package, but no project. A run
therefore always loads the current definitions. Runs continue if the process that launched them, or
the fork server, ends.

A run is left to the default launcher if the run's code server is not part of this instance, if
`SYNC_FORK_RUNS` is false, or if no process can be forked. Does not execute runs: the forked process
does what `dagster api execute_run` does.
"""

import json
import logging
import multiprocessing
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from math import inf
from multiprocessing.context import ForkServerProcess

import dagster as dg
import psutil

from sync_pipeline.dagster_client.tags import RUN_PROCESS_TAG
from sync_pipeline.errors import one_line
from sync_pipeline.orchestration.dagster.internals import (
    RUN_COMMAND_MODULE,
    ExecuteRunArgs,
    GrpcServerCodeLocationOrigin,
    LaunchRunContext,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    execute_run,
    get_run_crash_explanation,
    serialize_value,
)
from sync_pipeline.settings import FORK_RUNS, current_settings
from sync_pipeline.tracking.worker.workers import (
    RegisteredWorker,
    Worker,
    this_host_id,
    worker_with,
)

_logger = logging.getLogger("dagster.sync_pipeline")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    # What a run needs. Importing these modules loads no project and starts no thread.
    [RUN_COMMAND_MODULE, execute_run.__module__, "sync_pipeline.definitions"]
)
_SERVER_ENDED = 255
"""The exit code that `multiprocessing` reports for the processes of a fork server as soon as the
server has ended, even though those processes continue to run."""


class ForkServerRunLauncher(dg.DefaultRunLauncher):
    """Forks a process for each run.

    The run's tag `RUN_PROCESS_TAG` identifies the process, so that every process on this machine
    can terminate the run.
    """

    _has_warned = False

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run. Raises SettingError or one of Dagster's errors."""
        run = context.dagster_run
        if not (current_settings().fork_runs and _is_local(run) and self._try_fork(run)):
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run; return whether its process was running."""
        run = self._instance.get_run_by_id(run_id)
        worker = _worker_of(run) if run is not None and not run.is_finished else None
        if run is None or worker is None or worker.host_id != this_host_id():
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        if _is_dead(worker):
            return False
        with suppress(psutil.NoSuchProcess):
            psutil.Process(worker.pid).terminate()
            return True
        return False

    def _try_fork(self, run: dg.DagsterRun) -> bool:
        """Fork a process for the run; return whether that succeeded."""
        assert run.job_code_origin is not None  # noqa: S101  checked by _is_local
        arguments = ExecuteRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref())
        process = _context.Process(target=execute_run, args=[serialize_value(arguments)])
        try:
            process.start()
        except (OSError, EOFError) as error:
            if not self._has_warned:
                self._has_warned = True
                _logger.warning(
                    "cannot fork runs (%s); Dagster's default launcher launches them, which takes "
                    "seconds longer. Restart the daemon, or set %s=false",
                    one_line(error),
                    FORK_RUNS,
                )
            return False
        assert process.pid is not None  # noqa: S101  it has been started
        with suppress(psutil.NoSuchProcess):  # it has already ended; `_watch` reports that
            worker = worker_with(run.run_id, process.pid)
            self._instance.add_run_tags(run.run_id, {RUN_PROCESS_TAG: json.dumps(asdict(worker))})
        threading.Thread(target=self._watch, args=[run.run_id, process], daemon=True).start()
        return True

    def _watch(self, run_id: str, process: ForkServerProcess) -> None:
        """Wait until the process has ended; if the run has not, report that the run crashed."""
        process.join()
        if process.exitcode == _SERVER_ENDED:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(process.pid).wait()
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        if run.status is dg.DagsterRunStatus.CANCELING:  # the signal came before its handler
            self._instance.report_run_canceled(run)
        else:
            message = get_run_crash_explanation(f"Run process {process.pid}", process.exitcode or 0)
            self._instance.report_engine_event(message, run, cls=type(self))
            self._instance.report_run_failed(run)


def _is_local(run: dg.DagsterRun) -> bool:
    """Return whether Dagster itself started the run's code server, with this interpreter."""
    python, remote = run.job_code_origin, run.remote_job_origin
    if python is None or remote is None or python.executable_path != sys.executable:
        return False
    location = remote.repository_origin.code_location_origin
    if isinstance(location, GrpcServerCodeLocationOrigin):
        return location.socket is not None  # `dagster dev` starts its code servers on sockets
    return isinstance(location, ManagedGrpcPythonEnvCodeLocationOrigin)


def _worker_of(run: dg.DagsterRun) -> Worker | None:
    """Return the forked process of a run, or None if the default launcher launched the run."""
    value = run.tags.get(RUN_PROCESS_TAG)
    worker = Worker(**json.loads(value)) if value else None
    # A re-executed run has the tags of the run before it.
    return worker if worker is not None and worker.run_id == run.run_id else None


def _is_dead(worker: Worker) -> bool:
    return RegisteredWorker(worker, silent_seconds=inf).is_dead(0)
