"""The bounds of days: in every time zone, days have no gaps or overlaps between them."""

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.config.day_bounds import FIRST_DAY, LAST_DAY, DayBounds, DayType, day_bounds
from sync_pipeline.errors import RequestError

pytestmark = pytest.mark.unit

# Zones whose clocks change at midnight, a minute past midnight, by half an hour or by a whole day.
ZONES = (
    "UTC",
    "Asia/Shanghai",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "America/Toronto",
    "Asia/Beirut",
    "Asia/Gaza",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Asia/Manila",
    "Africa/Cairo",
    "Africa/Monrovia",
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
days = st.dates(date(1840, 1, 1), date(2100, 1, 1))
any_days = st.dates(FIRST_DAY, LAST_DAY)


def bounds_of(day: date, zone: str) -> DayBounds:
    return day_bounds(day, DayType.TIMESTAMPTZ, ZoneInfo(zone))


def hours(day: date, zone: str) -> float:
    bounds = bounds_of(day, zone)
    assert isinstance(bounds.lower, datetime)
    assert isinstance(bounds.upper, datetime)
    return (bounds.upper - bounds.lower) / timedelta(hours=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


@given(any_days, zones, st.sampled_from(DayType))
def test_days_have_no_gaps_or_overlaps(day: date, zone: ZoneInfo, day_type: DayType) -> None:
    bounds = day_bounds(day, day_type, zone)
    assert bounds.lower <= bounds.upper
    if day < LAST_DAY:
        assert bounds.upper == day_bounds(day + timedelta(days=1), day_type, zone).lower


@given(days, zones)
def test_a_day_begins_at_the_first_instant_that_has_its_date(day: date, zone: ZoneInfo) -> None:
    lower = day_bounds(day, DayType.TIMESTAMPTZ, zone).lower
    assert isinstance(lower, datetime)
    assert lower.astimezone(zone).date() >= day
    for before in (timedelta(microseconds=1), timedelta(minutes=20), timedelta(hours=5)):
        assert (lower - before).astimezone(zone).date() < day


@given(st.datetimes(datetime(1840, 1, 1), datetime(2100, 1, 1)), zones)  # noqa: DTZ001
def test_an_instant_belongs_to_its_date_in_the_zone(utc_time: datetime, zone: ZoneInfo) -> None:
    instant = utc_time.replace(tzinfo=timezone.utc)
    shown = instant.astimezone(zone).date()
    bounds = day_bounds(shown, DayType.TIMESTAMPTZ, zone)
    assert isinstance(bounds.upper, datetime)
    # If clocks go back past midnight, the old date recurs after the new day has begun.
    repeated = instant.astimezone(zone).fold == 1
    assert bounds.lower <= instant
    assert instant < bounds.upper or repeated


@pytest.mark.parametrize(
    ("day", "zone", "length"),
    [
        (date(2025, 3, 9), "America/New_York", 23),
        (date(2025, 11, 2), "America/New_York", 25),
        (date(2025, 10, 1), "Asia/Shanghai", 24),
        (date(2025, 4, 6), "Australia/Lord_Howe", 24.5),
        (date(2018, 11, 4), "America/Sao_Paulo", 23),  # midnight does not exist
        (date(2018, 2, 17), "America/Sao_Paulo", 25),  # its last hour is repeated
        (date(2024, 11, 3), "America/Havana", 25),  # midnight occurs twice
        (date(2011, 12, 30), "Pacific/Apia", 0),  # this date was skipped
        (date(2011, 12, 31), "Pacific/Apia", 24),
        (date(1844, 12, 31), "Asia/Manila", 0),
    ],
)
def test_a_day_has_the_length_that_its_zone_defines(day: date, zone: str, length: float) -> None:
    assert hours(day, zone) == pytest.approx(length)


def test_a_day_with_two_midnights_begins_at_the_first_one() -> None:
    assert bounds_of(date(2024, 11, 3), "America/Havana").lower == utc(2024, 11, 3, 4)


def test_a_day_whose_midnight_is_skipped_begins_when_clocks_go_forward() -> None:
    # On 1919-03-30 at 23:30, Toronto's clocks went forward to 00:30 the next day.
    lower = bounds_of(date(1919, 3, 31), "America/Toronto").lower
    assert lower == utc(1919, 3, 31, 4, 30)
    assert isinstance(lower, datetime)
    assert lower.astimezone(ZoneInfo("America/Toronto")).isoformat()[:16] == "1919-03-31T00:30"


def test_a_date_column_has_date_bounds_and_a_timestamp_column_local_midnights() -> None:
    day, zone = date(2025, 3, 9), ZoneInfo("America/New_York")
    assert day_bounds(day, DayType.DATE, zone) == DayBounds(day, date(2025, 3, 10))
    assert day_bounds(day, DayType.TIMESTAMP, zone) == DayBounds(
        datetime(2025, 3, 9),  # noqa: DTZ001
        datetime(2025, 3, 10),  # noqa: DTZ001
    )


@pytest.mark.parametrize("day", [date.min, date.max])
def test_the_first_and_last_day_of_the_calendar_are_rejected(day: date) -> None:
    with pytest.raises(RequestError, match="0001-01-02"):
        day_bounds(day, DayType.DATE, ZoneInfo("UTC"))
