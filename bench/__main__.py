"""`python -m bench [CASE …]`: run the cases, print a table and write results.jsonl.

The exit code is 1 if a goal was missed, 2 for any other error.
"""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.cases import CASES
from bench.machine import Machine
from bench.results import Result, to_json, to_table
from bench.stack import fresh_stack
from sync_pipeline.errors import SyncError, one_line

RESULTS = Path(__file__).with_name("results.jsonl")
_console = Console()


def main(names: Sequence[str]) -> int:
    """Run the cases in `names`, or all of them; return the exit code."""
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        _console.print(f"unknown case {unknown[0]!r}; available: {', '.join(CASES)}")
        return 2
    # Raise SystemExit on SIGTERM, so that the server is stopped and its folder is deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = [_measure(name) for name in CASES if not names or name in names]
    except SyncError as error:
        _console.print(f"bench: {one_line(error)}", style="red", markup=False)
        return 2
    machine = Machine.this()
    lines = [json.dumps(to_json(result, machine)) for result in results]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _console.print(to_table(results))
    _console.print(f"{machine}; details: bench/{RESULTS.name}", style="dim", markup=False)
    return 0 if all(result.met for result in results) else 1


def _measure(name: str) -> Result:
    """Run one case on a fresh server, so that dead rows from other cases do not affect it."""

    def log(text: str) -> None:
        _console.print(f"{name}: {text}", style="dim", markup=False, highlight=False)

    with fresh_stack() as settings:
        return CASES[name](settings, log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
