"""Workers that stop sending heartbeats: how long their records remain `syncing`.

Uses a real Dagster instance and the default settings.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from bench.project import create_project
from bench.readings import DAYS, FIRST, dataset, make_readings
from bench.results import Log, Result
from bench.stack import query_one
from sync_pipeline.errors import StackError
from sync_pipeline.local.stack import RunningDagster, run_dagster
from sync_pipeline.settings import Settings

CASE = "lost_worker"
_WORKERS = 3
_STAGGER_SECONDS = 3.0  # so that a single pass of the reconciler does not detect all of them
_GOAL_SECONDS = 60.0
_TIMEOUT_SECONDS = 180
_RUNNING = """SELECT max(pid) FROM sync_worker AS worker JOIN daily_sync_status
    ON batch_key = worker.run_id WHERE batch_key = %s AND success_count >= 10"""
_CLOSED = "SELECT max(id) FROM daily_sync_status WHERE batch_key = %s AND status = 'failed'"
_T = TypeVar("_T")


def measure(settings: Settings, log: Log) -> Result:
    """Suspend workers during their batches; measure the longest time until a record is closed."""
    make_readings(settings)
    datasets = [dataset(f"silent_{number}") for number in range(1, _WORKERS + 1)]
    with (
        create_project(datasets, settings) as project_settings,
        run_dagster(project_settings, 0) as dagster,
        ExitStack() as stopped,
    ):
        silent_since: dict[str, float] = {}
        for dataset_ in datasets:
            run_id = _launch(dagster, dataset_.name)
            pid = _wait(partial(_query, project_settings, _RUNNING, run_id))
            stopped.callback(_kill, pid)
            os.kill(pid, signal.SIGSTOP)
            silent_since[run_id] = time.monotonic()
            log(f"the worker of {dataset_.name} is suspended")
            time.sleep(_STAGGER_SECONDS)
        seconds = []
        while silent_since:
            run_id = _wait(
                lambda: next(
                    (key for key in silent_since if _query(project_settings, _CLOSED, key)), None
                )
            )
            seconds.append(time.monotonic() - silent_since.pop(run_id))
    return Result(
        CASE,
        f"{_WORKERS} workers suspended during a batch, default settings: the longest time until "
        "the record is closed",
        f"{_GOAL_SECONDS:.0f} s",
        max(seconds) / _GOAL_SECONDS,
        1.0,
        {
            "measured_seconds": round(max(seconds), 2),
            "each_seconds": [round(each, 2) for each in seconds],
        },
    )


def _launch(dagster: RunningDagster, name: str) -> str:
    last = FIRST + timedelta(days=DAYS - 1)
    days = {"start_date": str(FIRST), "end_date": str(last)}
    return dagster.launch_job("batch_backfill", config={"dataset": name, **days})


def _query(settings: Settings, query: str, key: str) -> Any:
    """Return the value that `query` selects, or None if it is NULL."""
    return query_one(settings.tracking_url, query, [key])[0]


def _wait(find: Callable[[], _T | None]) -> _T:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while (found := find()) is None:
        if time.monotonic() > deadline:
            raise StackError("a worker did not start, or its record was not closed")
        time.sleep(0.05)
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
