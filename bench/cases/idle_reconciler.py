"""The reconciler with nothing to do: a pass must not take longer as the history grows."""

import json
import subprocess
import sys
from datetime import timedelta
from statistics import median

from bench.batch import run_batch
from bench.project import create_project
from bench.readings import DAYS, FIRST, dataset, make_readings
from bench.results import Log, Result
from bench.stack import query_one
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.errors import StackError
from sync_pipeline.settings import PROJECT_ROOT, Settings

CASE = "idle_reconciler"
_GOAL = 1.0
_LIMIT_SECONDS = 0.05
_BATCHES = 3
_PASSES = 50


def measure(settings: Settings, log: Log) -> Result:
    """Time a pass when the history has about 10,000 attempts, all created by real syncs."""
    make_readings(settings)
    days = dataset("readings_synced")
    with create_project([days], settings) as project_settings:
        last = FIRST + timedelta(days=DAYS - 1)
        for number in range(1, _BATCHES + 1):
            run_batch(project_settings, BatchRequest(days.name, FIRST, last, resync=True))
            log(f"batch {number} of {_BATCHES}: {DAYS:,} days")
        (attempts,) = query_one(settings.database_url, "SELECT count(*) FROM sync_attempt", [])
        seconds = _run_passes(project_settings)
    log(f"{attempts:,} attempts: {median(seconds):.4f} s per pass, {max(seconds):.4f} s at most")
    return Result(
        CASE,
        f"one pass of the reconciler with nothing to do, {attempts:,} attempts in the records",
        f"{_LIMIT_SECONDS * 1000:g} ms",
        median(seconds) / _LIMIT_SECONDS,
        _GOAL,
        {
            "measured_seconds": round(median(seconds), 4),
            "baseline_seconds": _LIMIT_SECONDS,
            "max_seconds": round(max(seconds), 4),
        },
    )


def _run_passes(settings: Settings) -> list[float]:
    child = subprocess.run(
        [sys.executable, "-m", "bench.idle_reconciler_child", str(_PASSES)],
        cwd=PROJECT_ROOT,
        env=dict(settings.environment),
        stdout=subprocess.PIPE,
        check=False,
    )
    if child.returncode:
        raise StackError(f"the reconciler's process failed with exit code {child.returncode}")
    seconds: list[float] = json.loads(child.stdout)
    return seconds
