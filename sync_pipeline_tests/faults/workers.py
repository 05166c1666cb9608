"""Workers as real processes, forked from one that has imported Dagster.

A worker is the process that the command line starts (`orchestration.run_batch`) or that Dagster
starts to run the asset. Each has its own environment and log, and receives real signals. Does not
start runs through the product's run launcher: see `launching`.
"""

import atexit
import ctypes
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from sync_pipeline_tests.forked import Forked, ForkServer

_PR_SET_PDEATHSIG = 1
_PRELOADED = "sync_pipeline_tests.faults.preloaded"
_servers: list[ForkServer] = []


def preload(environment: Mapping[str, str]) -> None:
    """Start the process from which all workers are forked, with the project set in `environment`.

    Does nothing if it is already running.
    """
    if not _servers:
        _servers.append(ForkServer([_PRELOADED], {**os.environ, **environment}))
        atexit.register(_servers[0].close)


@contextmanager
def in_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Add these settings to this process's environment while the block runs."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Process(Protocol):
    """A process that may have been started by another one; see `Forked`."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, seconds: float | None) -> int | None: ...

    def send_signal(self, number: signal.Signals) -> bool: ...


@dataclass(frozen=True)
class Worker:
    """A process that runs one batch or run. `log` holds its output, including its JSON messages."""

    process: Process
    log: Path

    def messages(self) -> list[dict[str, Any]]:
        """Return the JSON messages that the process has printed."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith('{"')]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def signal(self, sign: signal.Signals) -> bool:
        """Send a signal; return whether the process was still running."""
        return self.process.send_signal(sign)

    def end(self, seconds: float) -> None:
        """Kill the process if it is still running, along with all processes that it started."""
        self.signal(signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(seconds)


def start(environment: Mapping[str, str], request: Mapping[str, Any], log: Path) -> Worker:
    """Start a worker that runs the request: `asset_run` if it has a `form`, else `run_batch`."""
    with Path(os.devnull).open("rb") as nothing:
        forked = fork(
            f"{__name__}:{work.__name__}", environment, log, [json.dumps(request)], nothing.fileno()
        )
    return Worker(forked, log)


def fork(
    call: str, environment: Mapping[str, str], log: Path, arguments: Sequence[str], stdin: int
) -> Forked:
    """Fork a process that calls `call`, such as "module:function"."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        streams = (stdin, output.fileno(), output.fileno())
        return _servers[0].start(call, ["worker", *arguments], environment, streams)


def job_request(
    dataset: str, first: date, last: date, key: str, *, resync: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Return a request to run the batch job for these days (inclusive)."""
    return {
        "config": {
            "dataset": dataset,
            "start_date": first.isoformat(),
            "end_date": last.isoformat(),
            "already_synced": "resync" if resync else "skip",
        },
        "batch_key": key,
        "triggered_by": "a fault round",
        "retry": retry,
    }


def end_with_parent() -> None:
    """Have this process killed when the process that forked it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def work() -> None:
    """Run the request described by the arguments. This is called in the forked process."""
    end_with_parent()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    from sync_pipeline.orchestration import run_batch
    from sync_pipeline_tests.faults import asset_run

    request = json.loads(sys.argv[1])
    asset = "form" in request
    if not asset:
        request["environment"] = dict(os.environ)
    receiving, sending = os.pipe()  # stays open, as it does while a command is running
    os.write(sending, json.dumps(request).encode() + b"\n")
    os.dup2(receiving, 0)
    code = asset_run.main() if asset else run_batch.main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # do not wait for Dagster's threads
