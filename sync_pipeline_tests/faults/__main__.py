"""Run random fault rounds and check all invariants: `python -m sync_pipeline_tests.faults`.

Prints one line per round, followed by the totals. Exits with 1 if any invariant was violated.
"""

import argparse
import logging
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from sync_pipeline_tests.faults import evidence
from sync_pipeline_tests.faults.harness import running_harness
from sync_pipeline_tests.faults.plan import KINDS, STACK_KINDS, make_plan

_KEEP_IN = Path(".data/faults")


def main() -> int:
    """Run the rounds selected by the arguments; return the exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are stopped
    logging.disable(logging.CRITICAL)  # errors are expected, and workers have their own logs
    struck: Counter[str] = Counter()
    violations = 0
    began = time.monotonic()
    with running_harness() as harness:
        for number in range(arguments.first, arguments.first + arguments.rounds):
            plan = make_plan(arguments.seed, number, arguments.kinds)
            started = time.monotonic()
            played = harness.play(plan)
            struck.update(label for label, _ in played.struck)
            outcome = "ok"
            if played.violations:
                violations += 1
                outcome = f"VIOLATION, see {evidence.keep(played, arguments.keep_in)}"
            print(
                f"{number:4} seed {plan.seed} {plan.kind:18} {plan.layout.value:13} "
                f"{'; '.join(said for _, said in played.struck) or 'no effect'}: {outcome} "
                f"({time.monotonic() - started:.1f} s)",
                flush=True,
            )
            for violation in played.violations:
                print(f"     {violation}", flush=True)
    print(f"{arguments.rounds} rounds in {time.monotonic() - began:.0f} s, seed {arguments.seed}")
    for what, times in sorted(struck.items()):
        print(f"  {what}: {times}")
    print(f"{violations} rounds with violations")
    return 1 if violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--seed", default="1")
    kinds = [*KINDS, *STACK_KINDS, "stack"]
    parser.add_argument(
        "--kinds",
        nargs="*",
        choices=kinds,
        default=list(KINDS),
        help="stack: all kinds that run a full Dagster",
    )
    parser.add_argument("--keep-in", type=Path, default=_KEEP_IN)
    arguments = parser.parse_args()
    arguments.kinds = [
        name for kind in arguments.kinds for name in (STACK_KINDS if kind == "stack" else [kind])
    ]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
