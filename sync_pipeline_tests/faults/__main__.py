"""`python -m sync_pipeline_tests.faults`: random rounds of faults, all invariants checked.

One line a round, the sums at the end; exit code 1 if anything that must hold did not.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from sync_pipeline_tests.faults import evidence
from sync_pipeline_tests.faults.harness import running_harness
from sync_pipeline_tests.faults.plan import KINDS, make_plan

_KEEP_IN = Path(".data/faults")


def main() -> int:
    """Play the rounds that the arguments ask for; return the exit code."""
    asked = _arguments()
    injected: Counter[str] = Counter()
    violations = 0
    began = time.monotonic()
    with running_harness() as harness:
        for number in range(asked.first, asked.first + asked.rounds):
            plan = make_plan(asked.seed, number, asked.kinds)
            started = time.monotonic()
            played = harness.play(plan)
            injected.update(fault.what.value for fault in played.injected)
            outcome = "ok"
            if played.violations:
                violations += 1
                outcome = f"VIOLATION, see {evidence.keep(played, asked.keep_in)}"
            print(
                f"{number:4} seed {plan.seed} {plan.kind:18} {plan.layout.value:13} "
                f"{'; '.join(map(str, played.injected)) or 'nothing struck'}: {outcome} "
                f"({time.monotonic() - started:.1f} s)",
                flush=True,
            )
            for violation in played.violations:
                print(f"     {violation}", flush=True)
    print(f"{asked.rounds} rounds in {time.monotonic() - began:.0f} s, seed {asked.seed}")
    for what, times in sorted(injected.items()):
        print(f"  {what}: {times}")
    print(f"{violations} rounds with violations")
    return 1 if violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=[])
    parser.add_argument("--keep-in", type=Path, default=_KEEP_IN)
    asked = parser.parse_args()
    asked.kinds = asked.kinds or list(KINDS)
    return asked


if __name__ == "__main__":
    sys.exit(main())
