"""How often a batch's record is updated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.config.dataset import Every, Percent, Progress
from sync_pipeline.tracking.progress_interval import ProgressInterval, days_between_writes

pytestmark = pytest.mark.unit

policies = st.one_of(
    st.sampled_from(["every_day", "auto"]),
    st.integers(1, 1000).map(lambda n: Every(days=n)),
    st.integers(1, 100).map(lambda n: Percent(percent=n)),
)


@pytest.mark.parametrize(
    ("progress", "total_days", "between"),
    [
        ("every_day", 365, 1),
        ("auto", 1, 1),
        ("auto", 10, 1),
        ("auto", 11, 5),
        (Every(days=5), 3, 5),
        (Every(days=5), 100, 5),
        (Percent(percent=10), 365, 36),
        (Percent(percent=10), 9, 1),
        (Percent(percent=10), 0, 1),
        (Percent(percent=100), 7, 7),
    ],
)
def test_days_between_writes_by_policy(progress: Progress, total_days: int, between: int) -> None:
    assert days_between_writes(progress, total_days) == between


@given(policies, st.integers(0, 100_000))
def test_there_is_always_at_least_one_day_between_writes(
    progress: Progress, total_days: int
) -> None:
    assert days_between_writes(progress, total_days) >= 1


@given(st.integers(1, 100), st.integers(1, 100_000))
def test_with_a_percentage_there_are_at_most_that_many_percent_of_days_between_writes(
    percent: int, total_days: int
) -> None:
    between = days_between_writes(Percent(percent=percent), total_days)
    assert between == 1 or between / total_days <= percent / 100


def test_quick_days_update_the_record_of_a_long_batch_at_most_ten_times_per_second() -> None:
    times = iter([0.0, 0.04, 0.08, 0.12, 0.16, 0.25])
    interval = ProgressInterval("every_day", 365, lambda: next(times))
    assert [interval.is_due(number) for number in range(1, 7)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_in_a_batch_of_ten_days_each_day_updates_the_record() -> None:
    interval = ProgressInterval("every_day", 10, lambda: 0.0)
    assert all(interval.is_due(number) for number in range(1, 11))


def test_slow_days_each_update_the_record() -> None:
    times = iter([0.0, 5.0, 5.5])
    interval = ProgressInterval("every_day", 365, lambda: next(times))
    assert [interval.is_due(number) for number in range(1, 4)] == [True, True, True]


def test_every_n_days_does_not_depend_on_how_long_they_take() -> None:
    interval = ProgressInterval(Every(days=2), 365, lambda: 0.0)
    assert [interval.is_due(number) for number in range(1, 5)] == [False, True, False, True]


def test_the_record_is_behind_until_the_next_update() -> None:
    interval = ProgressInterval(Every(days=2), 365)
    assert not interval.behind
    interval.is_due(1)
    assert interval.behind
    interval.is_due(2)
    assert not interval.behind
