"""The bounds of a calendar day, as values that the day column can be compared with.

A day is a half-open range [lower, upper) of dates, local times or instants, depending on the type
of the column. Instants are assigned to days in the dataset's time zone. Days have neither gaps nor
overlaps: each ends exactly where the next begins, even if a day has 23 or 25 hours or is skipped.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from zoneinfo import ZoneInfo

from sync_pipeline.errors import RequestError

FIRST_DAY = date(1, 1, 2)  # the bounds of these two days are valid datetimes in every zone
LAST_DAY = date(9999, 12, 29)


class DayType(str, Enum):
    """The type of the column that determines a row's day, as named by PostgreSQL."""

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

    `zone` applies to instants only; a `date` or a `timestamp` is already local. A day that the zone
    skipped (Pacific/Apia 2011-12-30) is an empty range. Raises RequestError if the day is so close
    to the ends of the calendar that Python cannot represent its bounds.
    """
    if not FIRST_DAY <= day <= LAST_DAY:
        raise RequestError(f"{day} cannot be synced; use days from {FIRST_DAY} to {LAST_DAY}")
    after = day + timedelta(days=1)
    if day_type is DayType.DATE:
        return DayBounds(day, after)
    if day_type is DayType.TIMESTAMP:
        return DayBounds(datetime.combine(day, time.min), datetime.combine(after, time.min))
    return DayBounds(_start_of(day, zone), _start_of(after, zone))


def _start_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant, in UTC, at which the zone's calendar shows `day` or a later day.

    If midnight occurs twice, the first one counts. If clocks jumped over midnight, the day begins
    at the jump.
    """
    midnight = datetime.combine(day, time.min, zone)
    start = midnight.astimezone(timezone.utc)
    if start.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start
    return _find_jump(day, zone, midnight.replace(fold=1).astimezone(timezone.utc), start)


def _find_jump(day: date, zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """Return the instant in (early, late] at which the zone's calendar jumps to `day` or past it.

    Python interprets a skipped local time with the offset after the jump (fold=1, too early) or
    before it (fold=0, exact or too late), so the jump is between the two. Offsets change at whole
    seconds, so this is a binary search over seconds.
    """
    too_early, late_enough = 0, int((late - early).total_seconds())
    while late_enough - too_early > 1:
        middle = (too_early + late_enough) // 2
        if (early + timedelta(seconds=middle)).astimezone(zone).date() >= day:
            late_enough = middle
        else:
            too_early = middle
    return early + timedelta(seconds=late_enough)
