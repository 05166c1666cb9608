"""The memory of a large day: it must not grow with the day."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import wide_rows
from bench.results import Result, Say
from bench.stack import run_sql
from bench.wide_files import files_of
from sync_pipeline.errors import StackError
from sync_pipeline.settings import PROJECT_ROOT, SOURCE_URL, Settings

MEMORY_5M = "memory_5m"
MEMORY_10M_VS_1M = "memory_10m_vs_1m"
_ROWS = 5_000_000
_LIMIT_BYTES = 60 * 2**20
_FEW, _MANY = 1_000_000, 10_000_000
_SOURCES = ("postgres", "csv", "parquet")


@dataclass(frozen=True)
class _Held:
    """What a process held before a day and at most since, in bytes; the day's seconds."""

    idle: int
    peak: int
    seconds: float


def above_idle(settings: Settings, say: Say) -> Result:
    """Measure what a process holds at most while it syncs 5,000,000 rows, above being idle."""
    say(f"making {_ROWS:,} rows")
    wide_rows.make_day(settings, _ROWS)
    held = _sync(settings, say, _ROWS, "postgres")
    grown = held.peak - held.idle
    return Result(
        MEMORY_5M,
        f"peak memory of syncing a day of {_ROWS:,} rows, above idle",
        "60 MiB",
        grown / _LIMIT_BYTES,
        1.0,
        {
            "of_bytes": grown,
            "against_bytes": _LIMIT_BYTES,
            "peak_bytes": held.peak,
            "idle_bytes": held.idle,
            "seconds": held.seconds,
        },
    )


def flat(settings: Settings, say: Say) -> Result:
    """Measure what a process holds at most with ten times the rows, of the source for which it
    grows most."""
    held = {rows: _by_source(settings, say, rows) for rows in (_FEW, _MANY)}
    grown = {name: held[_MANY][name].peak / held[_FEW][name].peak for name in _SOURCES}
    worst = max(_SOURCES, key=grown.__getitem__)
    figures: dict[str, object] = {"worst": worst}
    for name in _SOURCES:
        figures[f"{name}_of_bytes"] = held[_MANY][name].peak
        figures[f"{name}_against_bytes"] = held[_FEW][name].peak
        figures[f"{name}_of_seconds"] = held[_MANY][name].seconds
    return Result(
        MEMORY_10M_VS_1M,
        f"peak memory of a day of {_MANY:,} rows, from {', '.join(_SOURCES)}: the worst",
        f"of {_FEW:,} rows",
        grown[worst],
        1.15,
        figures,
    )


def _by_source(settings: Settings, say: Say, rows: int) -> dict[str, _Held]:
    say(f"making {rows:,} rows, and files of them")
    run_sql(settings.postgres_url(SOURCE_URL), f"DROP TABLE IF EXISTS {wide_rows.SOURCE_TABLE}")
    wide_rows.make_day(settings, rows)
    with files_of(settings) as folder:
        return {name: _sync(settings, say, rows, name, folder) for name in _SOURCES}


def _sync(
    settings: Settings, say: Say, rows: int, source: str, folder: Path = Path("unused")
) -> _Held:
    if not sys.platform.startswith("linux"):
        raise StackError("memory is read from /proc, which only Linux has; name the other cases")
    said = subprocess.run(
        [sys.executable, "-m", "bench.memory_child", str(rows), source, str(folder)],
        cwd=PROJECT_ROOT,
        env=dict(settings.environment),
        stdout=subprocess.PIPE,
        check=False,
    )
    if said.returncode:
        raise StackError(f"the process that syncs ended with exit code {said.returncode}")
    held = _Held(**json.loads(said.stdout))
    say(f"{source}: {held.peak:,} bytes at most, {held.idle:,} idle, {held.seconds} s")
    return held
