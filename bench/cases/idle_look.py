"""The reconciler where there is nothing to do: it must not cost more as history grows."""

import json
import subprocess
import sys
from datetime import timedelta
from statistics import median

from bench.batch import run_batch
from bench.project import project_of
from bench.readings import DAYS, FIRST, dataset, make_readings
from bench.results import Result, Say
from bench.stack import query_one
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.errors import StackError
from sync_pipeline.settings import PROJECT_ROOT, Settings

CASE = "idle_look"
_GOAL = 1.0
_LIMIT_SECONDS = 0.05
_BATCHES = 3
_LOOKS = 50


def measure(settings: Settings, say: Say) -> Result:
    """Measure a look at a history of some 10,000 attempts, each a day really synced."""
    make_readings(settings)
    days = dataset("readings_synced")
    with project_of([days], settings) as of_project:
        last = FIRST + timedelta(days=DAYS - 1)
        for number in range(1, _BATCHES + 1):
            run_batch(of_project, BatchRequest(days.name, FIRST, last, resync=True))
            say(f"batch {number} of {_BATCHES}: {DAYS:,} days")
        (attempts,) = query_one(settings.database_url, "SELECT count(*) FROM sync_attempt", [])
        seconds = _look(of_project)
    say(f"{attempts:,} attempts: {median(seconds):.4f} s a look, {max(seconds):.4f} s at most")
    return Result(
        CASE,
        f"a look of the reconciler with nothing to do, {attempts:,} attempts in the records",
        f"{_LIMIT_SECONDS * 1000:g} ms",
        median(seconds) / _LIMIT_SECONDS,
        _GOAL,
        {
            "of_seconds": round(median(seconds), 4),
            "against_seconds": _LIMIT_SECONDS,
            "max_seconds": round(max(seconds), 4),
        },
    )


def _look(settings: Settings) -> list[float]:
    said = subprocess.run(
        [sys.executable, "-m", "bench.idle_look_child", str(_LOOKS)],
        cwd=PROJECT_ROOT,
        env=dict(settings.environment),
        stdout=subprocess.PIPE,
        check=False,
    )
    if said.returncode:
        raise StackError(f"the process that looks ended with exit code {said.returncode}")
    seconds: list[float] = json.loads(said.stdout)
    return seconds
