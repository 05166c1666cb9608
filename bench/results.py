"""The result of a case, and its output as a table row and as JSON."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from bench.machine import Machine
from sync_pipeline.settings import Settings

Log = Callable[[str], None]
"""Reports progress, one line at a time."""

Measure = Callable[[Settings, Log], "Result"]
"""Runs one case on a fresh stack. Raises SyncError if the measured operation fails."""


@dataclass(frozen=True)
class Result:
    """The result of one case.

    `ratio` is `measured` divided by `baseline`, and `goal` is its maximum. `raw` contains the
    individual measurements; the names of durations and sizes end with their unit.
    """

    case: str
    measured: str
    baseline: str
    ratio: float
    goal: float
    raw: Mapping[str, Any]

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal


def to_json(result: Result, machine: Machine) -> dict[str, Any]:
    """Return the JSON object for a line of results.jsonl."""
    return {
        "case": result.case,
        "ratio": round(result.ratio, 3),
        "goal": result.goal,
        "met": result.met,
        "measured": result.measured,
        "baseline": result.baseline,
        **result.raw,
        **asdict(machine),
    }


def to_table(results: Iterable[Result]) -> Table:
    """Return the results as a table with one row per case."""
    table = Table()
    for heading in ("case", "measured", "compared with"):
        table.add_column(heading, overflow="fold")
    for heading in ("ratio", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        style = "green" if result.met else "red"
        ratio = f"[{style}]{result.ratio:.2f}[/]"
        table.add_row(result.case, result.measured, result.baseline, ratio, f"{result.goal:g}")
    return table
