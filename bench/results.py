"""A case's result: what was measured against what, and how it is printed and written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from bench.machine import Machine
from sync_pipeline.settings import Settings

Say = Callable[[str], None]
"""Told what is just being done, one line at a time."""

Measure = Callable[[Settings, Say], "Result"]
"""Measures one case on a fresh stack; raises SyncError if what it measures does not work."""


@dataclass(frozen=True)
class Result:
    """One case. `ratio` is what `of` took over what `against` took; `goal` is the most it may be.

    `raw` holds what was measured, in seconds or bytes, as the ending of each name says.
    """

    case: str
    of: str
    against: str
    ratio: float
    goal: float
    raw: Mapping[str, Any]

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal


def to_json(result: Result, machine: Machine) -> dict[str, Any]:
    """Return one line of results.jsonl as an object."""
    return {
        "case": result.case,
        "ratio": round(result.ratio, 3),
        "goal": result.goal,
        "met": result.met,
        "of": result.of,
        "against": result.against,
        **result.raw,
        **asdict(machine),
    }


def to_table(results: Iterable[Result]) -> Table:
    """Return the results as a table, one case a line."""
    table = Table()
    for heading in ("case", "of", "against"):
        table.add_column(heading, overflow="fold")
    for heading in ("ratio", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        style = "green" if result.met else "red"
        ratio = f"[{style}]{result.ratio:.2f}[/]"
        table.add_row(result.case, result.of, result.against, ratio, f"{result.goal:g}")
    return table
