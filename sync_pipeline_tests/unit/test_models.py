"""The middle day of a day range, and the grouping of days into ranges."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.tracking.models import Counts, day_ranges, middle_day

pytestmark = pytest.mark.unit

days = st.dates(date(1, 1, 1), date(9999, 12, 30))
ranges = st.tuples(days, days).map(sorted)


@pytest.mark.parametrize(
    ("start", "end", "middle"),
    [
        (
            "2025-10-01",
            "2025-10-10",
            "2025-10-05",
        ),  # the specification's example
        ("2025-10-01", "2025-10-01", "2025-10-01"),
        ("2025-10-01", "2025-10-02", "2025-10-01"),
        ("2025-10-01", "2025-10-03", "2025-10-02"),
        ("2024-02-28", "2024-03-01", "2024-02-29"),
        ("2025-12-31", "2026-01-01", "2025-12-31"),
    ],
)
def test_the_middle_day_is_rounded_down(start: str, end: str, middle: str) -> None:
    assert middle_day(*map(date.fromisoformat, (start, end))) == date.fromisoformat(middle)


@given(ranges)
def test_the_middle_day_has_as_many_days_before_it_as_after_or_one_fewer(
    range_: list[date],
) -> None:
    start, end = range_
    middle = middle_day(start, end)
    before, after = (middle - start).days, (end - middle).days
    assert before >= 0
    assert after - before in (0, 1)


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


def test_failed_and_skipped_days_count_as_done() -> None:
    assert Counts(total=10, success=2, failed=3, skipped=1).done == 6
