"""The reconciler with nothing to do: a pass must not take longer as the history grows."""

import json
import subprocess
import sys
from datetime import timedelta

from bench.batch import run_batch
from bench.pairs import Pair, ratio, raw
from bench.project import create_project
from bench.readings import DAYS, FIRST, dataset, make_readings
from bench.results import Log, Result
from bench.stack import query_one
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.errors import StackError
from sync_pipeline.settings import PROJECT_ROOT, Settings

CASE = "idle_reconciler"
_GOAL = 8.0
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
        pairs = _run_passes(project_settings)
    slowest = max(pair.measured for pair in pairs)
    log(f"{attempts:,} attempts: ratio {ratio(pairs):.2f}, the slowest pass {slowest:.4f} s")
    return Result(
        CASE,
        f"one pass of the reconciler with nothing to do, {attempts:,} attempts in the records",
        "opening a connection to the tracking database, with one query",
        ratio(pairs),
        _GOAL,
        raw(pairs) | {"max_seconds": round(slowest, 4)},
    )


def _run_passes(settings: Settings) -> list[Pair]:
    child = subprocess.run(
        [sys.executable, "-m", "bench.idle_reconciler_child", str(_PASSES)],
        cwd=PROJECT_ROOT,
        env=dict(settings.environment),
        stdout=subprocess.PIPE,
        check=False,
    )
    if child.returncode:
        raise StackError(f"the reconciler's process failed with exit code {child.returncode}")
    return [Pair(*seconds) for seconds in json.loads(child.stdout)]
