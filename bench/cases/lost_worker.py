"""Workers that fall silent under a real Dagster, with every setting at its default: how long their
records still say that they are at work."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from bench.project import project_of
from bench.readings import DAYS, FIRST, dataset, make_readings
from bench.results import Result, Say
from bench.stack import query_one
from sync_pipeline.errors import StackError
from sync_pipeline.local.stack import RunningDagster, dagster_running
from sync_pipeline.settings import Settings

CASE = "lost_worker"
_WORKERS = 3
_APART_SECONDS = 3.0  # so that they are not all found by the same look
_GOAL_SECONDS = 60.0
_PATIENCE_SECONDS = 180
_AT_WORK = """SELECT max(pid) FROM sync_worker AS worker JOIN daily_sync_status
    ON batch_key = worker.run_id WHERE batch_key = %s AND success_count >= 10"""
_CLOSED = "SELECT max(id) FROM daily_sync_status WHERE batch_key = %s AND status = 'failed'"
_T = TypeVar("_T")


def measure(settings: Settings, say: Say) -> Result:
    """Stop some workers in the middle of their batches, one after the other, and take the longest
    time until a record is closed."""
    make_readings(settings)
    datasets = [dataset(f"silent_{number}") for number in range(1, _WORKERS + 1)]
    with (
        project_of(datasets, settings) as complete,
        dagster_running(complete, 0) as dagster,
        ExitStack() as stopped,
    ):
        silent_since: dict[str, float] = {}
        for of in datasets:
            run_id = _launch(dagster, of.name)
            pid = _wait(partial(_one, complete, _AT_WORK, run_id))
            stopped.callback(_kill, pid)
            os.kill(pid, signal.SIGSTOP)
            silent_since[run_id] = time.monotonic()
            say(f"the worker of {of.name} is stopped")
            time.sleep(_APART_SECONDS)
        seconds = []
        while silent_since:
            run_id = _wait(
                lambda: next((key for key in silent_since if _one(complete, _CLOSED, key)), None)
            )
            seconds.append(time.monotonic() - silent_since.pop(run_id))
    return Result(
        CASE,
        f"{_WORKERS} workers stopped in the middle of a batch, settings at their defaults: the "
        "longest time until the record says so",
        f"{_GOAL_SECONDS:.0f} s",
        max(seconds) / _GOAL_SECONDS,
        1.0,
        {"of_seconds": round(max(seconds), 2), "each_seconds": [round(one, 2) for one in seconds]},
    )


def _launch(dagster: RunningDagster, name: str) -> str:
    last = FIRST + timedelta(days=DAYS - 1)
    days = {"start_date": str(FIRST), "end_date": str(last)}
    return dagster.launch_job("batch_backfill", config={"dataset": name, **days})


def _one(settings: Settings, query: str, key: str) -> Any:
    """Return what `query` gives, None if there is nothing yet."""
    return query_one(settings.tracking_url, query, [key])[0]


def _wait(find: Callable[[], _T | None]) -> _T:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := find()) is None:
        if time.monotonic() > deadline:
            raise StackError("a worker did not begin, or was not found out")
        time.sleep(0.05)
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
