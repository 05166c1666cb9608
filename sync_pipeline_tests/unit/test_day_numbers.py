"""A row's day in a split file is the one that `day_bounds` defines."""

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.config.day_bounds import FIRST_DAY, LAST_DAY, DayType, day_bounds
from sync_pipeline.sources.files.split import day_numbers

pytestmark = pytest.mark.unit

EPOCH = date(1970, 1, 1)
ONE = timedelta(microseconds=1)
# Offsets in seconds, a skipped day, midnights that occur twice or not at all, half hours.
ZONES = [
    "UTC",
    "America/Juneau",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Manila",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
]


def days_of(values: pa.Array, day_type: DayType, zone: str) -> list[date | None]:
    numbers = day_numbers(values, day_type, ZoneInfo(zone)).to_pylist()
    return [None if number is None else EPOCH + timedelta(days=number) for number in numbers]


@given(
    zone=st.sampled_from(ZONES),
    day=st.dates(FIRST_DAY, LAST_DAY) | st.dates(date(1840, 1, 1), date(2037, 1, 1)),
)
def test_the_first_and_last_instant_of_a_day_belong_to_it(zone: str, day: date) -> None:
    bounds = day_bounds(day, DayType.TIMESTAMPTZ, ZoneInfo(zone))
    if bounds.lower == bounds.upper:
        return  # the zone skipped the day
    instants = [bounds.lower, bounds.upper - ONE]
    values = pa.array(instants, pa.timestamp("us", "UTC"))
    assert days_of(values, DayType.TIMESTAMPTZ, zone) == [day, day]


def test_a_skipped_day_has_no_instant() -> None:
    jump = datetime(2011, 12, 30, 10, tzinfo=timezone.utc)
    values = pa.array([jump - ONE, jump, None], pa.timestamp("us", "UTC"))
    expected = [date(2011, 12, 29), date(2011, 12, 31), None]
    assert days_of(values, DayType.TIMESTAMPTZ, "Pacific/Apia") == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_before_1970_are_rounded_down(unit: str) -> None:
    numbers = pa.array([-1, 0], pa.int64())
    expected = [EPOCH - timedelta(days=1), EPOCH]
    local, instants = numbers.cast(pa.timestamp(unit)), numbers.cast(pa.timestamp(unit, "UTC"))
    assert days_of(local, DayType.TIMESTAMP, "Asia/Manila") == expected
    assert days_of(instants, DayType.TIMESTAMPTZ, "UTC") == expected


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()], ids=str)
def test_a_date_is_its_day_in_every_zone(kind: pa.DataType) -> None:
    days = [date(1969, 12, 31), EPOCH, date(2025, 10, 1), None]
    assert days_of(pa.array(days, kind), DayType.DATE, "Pacific/Apia") == days
