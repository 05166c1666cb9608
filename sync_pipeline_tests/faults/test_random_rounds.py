"""A fixed set of random rounds, each kind on workers alone and one on a whole Dagster: nothing that
must hold may break.

`make faults ROUNDS=500 SEED=2` plays more of them.
"""

from pathlib import Path

import pytest

from sync_pipeline_tests.faults import evidence
from sync_pipeline_tests.faults.harness import Harness
from sync_pipeline_tests.faults.plan import KINDS, make_plan

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(240),
    # Dagster's own, which elsewhere runs in another process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dagster"),
]

SEED = "ci"
ROUNDS = [*KINDS, "stack_daemon_off"]
_MAX_TRIES = 6  # where a worker is quicker than the fault, or its moment has nothing to strike


@pytest.mark.parametrize("number", range(1, len(ROUNDS) + 1), ids=ROUNDS)
def test_after_a_round_of_faults_records_target_and_dagster_agree(
    harness: Harness, number: int, tmp_path: Path
) -> None:
    for again in range(_MAX_TRIES):
        # Another plan of the same kind each time: its number says which.
        played = harness.play(make_plan(SEED, number + again * len(ROUNDS), ROUNDS))
        if played.violations:
            kept = evidence.keep(played, tmp_path)
            pytest.fail("\n".join([*played.violations, *played.notes, f"evidence: {kept}"]))
        if played.struck:
            return
    # A step that no worker comes to any more would leave a kind of fault untried for good.
    pytest.fail(f"in {_MAX_TRIES} rounds nothing struck: {played.notes}")
