"""Workers as real processes that need not import Dagster: forked from one that has.

A worker is what the command line starts (`orchestration.run_batch`), or what Dagster starts for a
run of the asset over a range. Each has its own environment and log, and dies by real signals.
"""

import ctypes
import faulthandler
import io
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = "sync_pipeline_tests.faults.forked_preload"


def preload(environment: Mapping[str, str]) -> None:
    """Start the process that all workers are forked from, with the project of `environment`."""
    _CONTEXT.set_forkserver_preload([_PRELOADED])
    with in_environment(environment):
        started = _CONTEXT.Process(target=_nothing)
        started.start()
        started.join()


@contextmanager
def in_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Let this process's environment have these settings while the block lasts."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Worker:
    """A process at one batch. `log` holds all it said, its answers to the command among it."""

    process: ForkServerProcess
    log: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def is_over(self) -> bool:
        return self.process.exitcode is not None

    def signal(self, sign: signal.Signals) -> bool:
        """Send a signal; return whether the process was there to take it."""
        if self.is_over:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, sign)
            return True
        return False

    def end(self, seconds: float) -> None:
        """Kill it if it is not over, and what it started: Dagster's own helpers outlive a kill."""
        self.signal(signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.join(seconds)


def start(environment: Mapping[str, str], request: Mapping[str, Any], log: Path) -> Worker:
    """Start a worker; `request` is that of `run_batch`, or of `asset_run` if it says `asset`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    process = _CONTEXT.Process(target=_work, args=(dict(environment), dict(request), str(log)))
    process.start()
    return Worker(process, log)


def batch_request(
    dataset: str,
    first: date,
    last: date,
    key: str,
    *,
    resync: bool = False,
    days_per_step: int = 366,
    asset: bool = False,
    retry: bool = False,
) -> dict[str, Any]:
    """Return a request for these days, both ends included: of the batch job, or of the asset."""
    config = {
        "dataset": dataset,
        "start_date": first.isoformat(),
        "end_date": last.isoformat(),
        "already_synced": "resync" if resync else "skip",
        "days_per_step": days_per_step,
    }
    request = {"config": config, "batch_key": key, "triggered_by": "a fault round", "retry": retry}
    return {**request, "asset": True} if asset else request


def _nothing() -> None:
    """What the first process does: it makes sure that the one it is forked from is there."""


def _work(environment: dict[str, str], request: dict[str, Any], log: str) -> None:
    os.setsid()  # the leader of its own group, see Worker.end
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    from sync_pipeline.orchestration import run_batch
    from sync_pipeline_tests.faults import asset_run

    asset = request.pop("asset", False)
    sys.stdin = io.StringIO(json.dumps(request))
    code = asset_run.main() if asset else run_batch.main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without waiting for what a thread of Dagster's may hold
