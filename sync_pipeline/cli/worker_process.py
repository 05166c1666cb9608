"""Starts the process that runs a batch: `orchestration/run_batch.py`.

Importing Dagster takes most of the time until a batch starts, so `main.py` starts the process
before it imports the commands. Imports only the standard library. Does not send the request: see
`launch.py`.
"""

import atexit
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO


@dataclass
class WorkerProcess:
    """A process that imports Dagster and then waits for a request.

    `errors` is its standard error. `is_waiting` is true until the request is sent.
    """

    process: "subprocess.Popen[str]"
    errors: IO[str]
    is_waiting: bool = True

    def kill_if_waiting(self) -> None:
        """Kill the process if it has not received a request."""
        if self.is_waiting:
            self.process.kill()
            self.process.communicate()


_ready: list[WorkerProcess] = []


def start_early() -> None:
    """Start a process for the next call of `start_worker`."""
    _ready.append(_start())


def start_worker() -> WorkerProcess:
    """Return the process that `start_early` has started, or start one.

    It is killed at exit if it has not received a request by then.
    """
    return _ready.pop() if _ready else _start()


def _start() -> WorkerProcess:
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by its user, or at exit
    process = subprocess.Popen(
        [sys.executable, "-m", "sync_pipeline.orchestration.run_batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,  # so that Ctrl-C reaches only this process
    )
    worker = WorkerProcess(process, errors)
    atexit.register(worker.kill_if_waiting)
    return worker
