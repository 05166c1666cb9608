"""The value of `date_format`: how a source writes the day column, as a `strptime` format."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Annotated

from pydantic import AfterValidator

from sync_pipeline.config.day_bounds import DayType

_SAMPLES = [
    datetime(2023, 12, 25, 13, 14, 15, tzinfo=timezone.utc) + timedelta(days=n)
    for n in range(0, 800, 9)
]
# Two numbers without anything between them, such as %Y%m.
_ADJACENT = re.compile(r"%[YGymdjVuHIMS]%[YGymdjVuHIMS]")


def parse_date(text: str, form: str) -> datetime:
    """Return the date and time that `text` contains. Raises ValueError if it is not in `form`."""
    parsed = datetime.strptime(text, form)  # noqa: DTZ007  a format for a timestamptz has an offset
    if _ADJACENT.search(form):
        # strptime accepts numbers with fewer digits: 2025111 would be the first of November.
        start = parsed.strftime(re.split(r"%[fz]", form)[0])
        if not text.lower().startswith(start.lower()):
            raise ValueError(f"{text!r} has too few digits")
    return parsed


def _date_format(form: str) -> str:
    try:
        found = [(sample, parse_date(sample.strftime(form), form)) for sample in _SAMPLES]
    except ValueError:
        raise ValueError(f"{form!r} must be a format such as %Y/%m/%d or %d.%m.%Y") from None
    if "%Z" in form:
        raise ValueError(f"{form!r} contains %Z, which is ambiguous; use an offset, %z")
    if any(sample.date() != parsed.date() for sample, parsed in found):
        raise ValueError(f"{form!r} must contain year, month and day, such as %Y/%m/%d")
    if any(parsed.hour not in (0, sample.hour) for sample, parsed in found):
        raise ValueError(f"{form!r} contains %I without %p; use %H for hours from 0 to 23")
    return form


def check_date_format(form: str | None, columns: Mapping[str, str] | None, day_column: str) -> None:
    """Raise ValueError if `form` does not suit the type of the day column, which it requires."""
    kind = (columns or {}).get(day_column)
    if form is None:
        return
    if kind is None:
        raise ValueError(f"'date_format' requires the day_column {day_column!r} in 'columns'")
    parsed = parse_date(_SAMPLES[0].strftime(form), form)
    if kind == DayType.DATE.value and (parsed.hour, parsed.minute, parsed.second) != (0, 0, 0):
        raise ValueError(
            f"'date_format' contains a time, but the day_column {day_column!r} is a date; declare "
            "it as timestamp or timestamptz"
        )
    if (kind == DayType.TIMESTAMPTZ.value) != (parsed.tzinfo is not None):
        raise ValueError(
            "'date_format' must contain an offset, %z, if the day_column is a timestamptz, and "
            f"only then; {day_column!r} is a {kind}"
        )


DateFormat = Annotated[str, AfterValidator(_date_format)]
