"""Where a day begins and ends, in the terms of the column that decides it.

The half-open range [lower, upper) of one calendar day: as dates, as local times, or as instants
when the column is an instant and a time zone decides. The days of a zone tile time: each day ends
exactly where the next begins, through days of 23 and 25 hours and across skipped days.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from zoneinfo import ZoneInfo

from sync_pipeline.errors import RequestError

FIRST_DAY = date(1, 1, 2)  # an hour either side of these, in any zone, is still a Python datetime
LAST_DAY = date(9999, 12, 29)


class DayType(str, Enum):
    """The type of the column that says to which day a row belongs, as PostgreSQL writes it."""

    DATE = "date"
    TIMESTAMP = "timestamp without time zone"
    TIMESTAMPTZ = "timestamp with time zone"


@dataclass(frozen=True)
class DayBounds:
    """One day as the range [lower, upper): dates, naive local times, or instants in UTC."""

    lower: date | datetime
    upper: date | datetime


def day_bounds(day: date, day_type: DayType, zone: ZoneInfo) -> DayBounds:
    """Return the bounds of `day` for a column of `day_type`.

    `zone` matters to instants only: a `date` or a `timestamp` already is local. A day the zone
    skipped (Pacific/Apia 2011-12-30) is an empty range. Raises RequestError for a day so near the
    ends of the calendar that Python cannot express its bounds.
    """
    if not FIRST_DAY <= day <= LAST_DAY:
        raise RequestError(f"{day} cannot be synced; use days from {FIRST_DAY} to {LAST_DAY}")
    after = day + timedelta(days=1)
    if day_type is DayType.DATE:
        return DayBounds(day, after)
    if day_type is DayType.TIMESTAMP:
        return DayBounds(datetime.combine(day, time.min), datetime.combine(after, time.min))
    return DayBounds(_begin(day, zone), _begin(after, zone))


def _begin(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant, in UTC, at which the zone's calendar shows `day` or a later day.

    A midnight that comes twice counts from its first time. One that never comes, because clocks
    jumped over it, is the instant of the jump.
    """
    midnight = datetime.combine(day, time.min, zone)
    begin = midnight.astimezone(timezone.utc)
    if begin.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return begin
    return _jump(day, zone, midnight.replace(fold=1).astimezone(timezone.utc), begin)


def _jump(day: date, zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """Return the instant in (early, late] at which the zone's calendar jumps to `day` or past it.

    Python reads a skipped local time with the offset after the jump (fold=1, too early) or
    before it (fold=0, too late or exact), so the jump lies between. Zones change at whole seconds.
    """
    too_early, enough = 0, int((late - early).total_seconds())
    while enough - too_early > 1:
        middle = (too_early + enough) // 2
        if (early + timedelta(seconds=middle)).astimezone(zone).date() >= day:
            enough = middle
        else:
            too_early = middle
    return early + timedelta(seconds=enough)
