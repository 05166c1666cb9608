"""The memory of a large day: it must not grow with the day."""

import json
import subprocess
import sys

from bench import wide_rows
from bench.results import Result, Say
from sync_pipeline.errors import StackError
from sync_pipeline.settings import PROJECT_ROOT, Settings

CASE = "memory_5m"
_GOAL = 1.0
_ROWS = 5_000_000
_LIMIT_BYTES = 60 * 2**20


def measure(settings: Settings, say: Say) -> Result:
    """Measure what a process holds at most while it syncs 5,000,000 rows, above being idle."""
    if not sys.platform.startswith("linux"):
        raise StackError(f"{CASE} reads /proc, which only Linux has; name the other cases")
    say(f"making {_ROWS:,} rows")
    wide_rows.make_day(settings, _ROWS)
    said = subprocess.run(
        [sys.executable, "-m", "bench.memory_child", str(_ROWS)],
        cwd=PROJECT_ROOT,
        env=dict(settings.environment),
        stdout=subprocess.PIPE,
        check=False,
    )
    if said.returncode:
        raise StackError(f"the process that syncs ended with exit code {said.returncode}")
    found = json.loads(said.stdout)
    grown = found["peak"] - found["idle"]
    say(f"{found['peak']:,} bytes at most, {found['idle']:,} idle, {found['seconds']} s")
    return Result(
        CASE,
        f"peak memory of syncing a day of {_ROWS:,} rows, above idle",
        "60 MiB",
        grown / _LIMIT_BYTES,
        _GOAL,
        {
            "of_bytes": grown,
            "against_bytes": _LIMIT_BYTES,
            "peak_bytes": found["peak"],
            "idle_bytes": found["idle"],
            "seconds": found["seconds"],
        },
    )
