"""Memory usage when syncing a large day: it must not grow with the number of rows."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import wide_rows
from bench.results import Log, Result
from bench.stack import run_sql
from bench.wide_files import export_files
from sync_pipeline.errors import StackError
from sync_pipeline.settings import PROJECT_ROOT, SOURCE_URL, Settings

MEMORY_5M = "memory_5m"
MEMORY_10M_VS_1M = "memory_10m_vs_1m"
_ROWS = 5_000_000
_LIMIT_BYTES = 60 * 2**20
_FEW, _MANY = 1_000_000, 10_000_000
_SOURCES = ("postgres", "csv", "parquet")


@dataclass(frozen=True)
class _Usage:
    """Memory in bytes, before a sync and at its peak, and the sync's duration in seconds."""

    idle: int
    peak: int
    seconds: float


def above_idle(settings: Settings, log: Log) -> Result:
    """Measure how far peak memory rises above idle in a process that syncs 5,000,000 rows."""
    log(f"creating {_ROWS:,} rows")
    wide_rows.make_day(settings, _ROWS)
    usage = _sync(settings, log, _ROWS, "postgres")
    grown = usage.peak - usage.idle
    return Result(
        MEMORY_5M,
        f"peak memory of syncing a day of {_ROWS:,} rows, above idle",
        "60 MiB",
        grown / _LIMIT_BYTES,
        1.0,
        {
            "measured_bytes": grown,
            "baseline_bytes": _LIMIT_BYTES,
            "peak_bytes": usage.peak,
            "idle_bytes": usage.idle,
            "seconds": usage.seconds,
        },
    )


def flat(settings: Settings, log: Log) -> Result:
    """Compare the peak memory for 10,000,000 rows with that for 1,000,000.

    The result is from the source for which memory grows most.
    """
    usage = {rows: _by_source(settings, log, rows) for rows in (_FEW, _MANY)}
    grown = {name: usage[_MANY][name].peak / usage[_FEW][name].peak for name in _SOURCES}
    worst = max(_SOURCES, key=grown.__getitem__)
    raw: dict[str, object] = {"worst": worst}
    for name in _SOURCES:
        raw[f"{name}_measured_bytes"] = usage[_MANY][name].peak
        raw[f"{name}_baseline_bytes"] = usage[_FEW][name].peak
        raw[f"{name}_measured_seconds"] = usage[_MANY][name].seconds
    return Result(
        MEMORY_10M_VS_1M,
        f"peak memory of syncing a day of {_MANY:,} rows, the worst of {', '.join(_SOURCES)}",
        f"a day of {_FEW:,} rows",
        grown[worst],
        1.15,
        raw,
    )


def _by_source(settings: Settings, log: Log, rows: int) -> dict[str, _Usage]:
    log(f"creating {rows:,} rows and the files that contain them")
    run_sql(settings.postgres_url(SOURCE_URL), f"DROP TABLE IF EXISTS {wide_rows.SOURCE_TABLE}")
    wide_rows.make_day(settings, rows)
    with export_files(settings) as folder:
        return {name: _sync(settings, log, rows, name, folder) for name in _SOURCES}


def _sync(
    settings: Settings, log: Log, rows: int, source: str, folder: Path = Path("unused")
) -> _Usage:
    if not sys.platform.startswith("linux"):
        raise StackError("this case requires Linux (it reads /proc); select other cases")
    child = subprocess.run(
        [sys.executable, "-m", "bench.memory_child", str(rows), source, str(folder)],
        cwd=PROJECT_ROOT,
        env=dict(settings.environment),
        stdout=subprocess.PIPE,
        check=False,
    )
    if child.returncode:
        raise StackError(f"the syncing process failed with exit code {child.returncode}")
    usage = _Usage(**json.loads(child.stdout))
    log(f"{source}: peak {usage.peak:,} bytes, idle {usage.idle:,} bytes, {usage.seconds} s")
    return usage
