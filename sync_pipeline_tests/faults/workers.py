"""Workers as real processes, forked from one that has imported Dagster.

A worker is the process that the command line starts (`orchestration.run_batch`) or that Dagster
starts to run the asset over a day range. Each has its own environment and log, and receives real
signals.
"""

import atexit
import ctypes
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Worker:
    """A process that runs one batch. `log` holds its output, including its JSON responses."""

    process: Forked
    log: Path

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
    """Start a worker that runs the request: `asset_run` if `asset` is set, else `run_batch`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
        streams = (nothing.fileno(), output.fileno(), output.fileno())
        call = f"{__name__}:{work.__name__}"
        arguments = ["worker", json.dumps(request)]
        return Worker(_servers[0].start(call, arguments, environment, streams), log)


def batch_request(
    dataset: str,
    first: date,
    last: date,
    key: str,
    *,
    resync: bool = False,
    asset: bool = False,
    retry: bool = False,
) -> dict[str, Any]:
    """Return a request to run the batch job or the asset for these days (inclusive)."""
    config = {
        "dataset": dataset,
        "start_date": first.isoformat(),
        "end_date": last.isoformat(),
        "already_synced": "resync" if resync else "skip",
    }
    request = {"config": config, "batch_key": key, "triggered_by": "a fault round", "retry": retry}
    return {**request, "asset": True} if asset else request


def work() -> None:
    """Run the request described by the arguments. This is called in the forked process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    from sync_pipeline.orchestration import run_batch
    from sync_pipeline_tests.faults import asset_run

    request = json.loads(sys.argv[1]) | {"environment": dict(os.environ)}
    asset = request.pop("asset", False)
    receiving, sending = os.pipe()  # stays open, as it does while a command is running
    os.write(sending, json.dumps(request).encode() + b"\n")
    os.dup2(receiving, 0)
    code = asset_run.main() if asset else run_batch.main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # do not wait for Dagster's threads
