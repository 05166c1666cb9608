"""Days are grouped into ranges, and batches and outcomes are converted to JSON and back."""

import json
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.tracking.models import AttemptState, BatchSpec, DayCounts, DayOutcome, day_ranges

pytestmark = pytest.mark.unit


def test_days_become_sorted_ranges() -> None:
    first = date(2025, 1, 30)
    given_days = [first + timedelta(days=n) for n in (9, 2, 1, 0, 5, 5)]
    assert day_ranges(given_days) == [
        (date(2025, 1, 30), date(2025, 2, 1)),
        (date(2025, 2, 4), date(2025, 2, 4)),
        (date(2025, 2, 8), date(2025, 2, 8)),
    ]
    assert day_ranges([]) == []


@given(st.lists(st.dates(date(2025, 1, 1), date(2025, 3, 1))))
def test_ranges_contain_exactly_the_given_days_and_are_not_adjacent(given_days: list[date]) -> None:
    found = day_ranges(given_days)
    contained = [a + timedelta(days=n) for a, b in found for n in range((b - a).days + 1)]
    assert contained == sorted(set(given_days))
    assert all(before[1] + timedelta(days=1) < after[0] for before, after in pairwise(found))


@given(st.lists(st.dates(), min_size=1), st.booleans())
def test_a_batch_and_an_outcome_are_read_back_from_json(
    given_days: list[date], resync: bool
) -> None:
    spec = BatchSpec("key", "orders", sorted(set(given_days)), "run-1", None, resync)
    assert BatchSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
    outcome = DayOutcome(
        "orders",
        given_days[0],
        AttemptState.SUCCESS,
        "run-1",
        "ann",
        spec,
        7,
        2,
        1.5,
        DayCounts(3, 2, 1, 99),
    )
    assert DayOutcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome
