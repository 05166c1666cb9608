"""A fixed set of random rounds: one per workers-only kind, and one with a full Dagster instance.

To run more rounds, use a command such as `make faults ROUNDS=500 SEED=2`.
"""

from pathlib import Path

import pytest

from sync_pipeline_tests.faults import evidence
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.plan import KINDS, make_plan

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(600),
    # Dagster's own warnings, which appear here because Dagster runs in the tests' process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dagster"),
]

SEED = "ci"
ROUNDS = [*KINDS, "stack_daemon_off"]
_MAX_ROUNDS = 6  # a worker may end before its fault occurs


@pytest.mark.parametrize("number", range(1, len(ROUNDS) + 1), ids=ROUNDS)
def test_after_a_round_of_faults_records_target_and_dagster_agree(
    harness: Harness, number: int, tmp_path: Path
) -> None:
    for again in range(_MAX_ROUNDS):
        # Adding the number of kinds gives another plan of the same kind.
        played = harness.play(make_plan(SEED, number + again * len(ROUNDS), ROUNDS))
        if played.violations:
            kept = evidence.keep(played, tmp_path)
            pytest.fail("\n".join([*played.violations, *played.notes, f"evidence: {kept}"]))
        if played.struck:
            return
    # Without this, nobody would notice if workers no longer reached a step.
    pytest.fail(f"no fault had an effect in {_MAX_ROUNDS} rounds: {played.notes}")
