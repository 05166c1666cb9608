"""The day as it stands in a request: `{day:%Y-%m-%d}`, `{begin}`, `{end_epoch}` and the like.

`{day}` and `{next_day}` are dates. `{begin}` is the day's first instant and `{end}` the first one
after it, in the dataset's time zone; `{begin_utc}`, `{begin_epoch}` (whole seconds) and
`{begin_epoch_ms}` are the same instant. After a colon stands a format of Python's strftime.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from string import Formatter
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sync_pipeline.config.day_bounds import DayType, day_bounds

_ONLY_ONE = re.compile(r"\{(\w+)\}")
_TRIED_WITH = (date(2025, 10, 1), ZoneInfo("UTC"))


def values_of(day: date, zone: ZoneInfo) -> dict[str, date | int]:
    """Return what each placeholder stands for on `day`."""
    bounds = day_bounds(day, DayType.TIMESTAMPTZ, zone)
    values: dict[str, date | int] = {"day": day, "next_day": day + timedelta(days=1)}
    for name, instant in (("begin", bounds.lower), ("end", bounds.upper)):
        assert isinstance(instant, datetime)  # noqa: S101  of a TIMESTAMPTZ
        values[name] = instant.astimezone(zone)
        values[f"{name}_utc"] = instant.astimezone(timezone.utc)
        seconds = int(instant.timestamp())  # zones change at whole seconds
        values[f"{name}_epoch"], values[f"{name}_epoch_ms"] = seconds, seconds * 1000
    return values


def filled(template: Any, values: Mapping[str, date | int]) -> Any:
    """Return `template`, whatever JSON it is, with the placeholders in its texts filled in.

    A text that is one whole placeholder of a number becomes a number.
    """
    if isinstance(template, dict):
        return {filled(name, values): filled(value, values) for name, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = _ONLY_ONE.fullmatch(template)
    if whole and isinstance(values.get(whole[1]), int):
        return values[whole[1]]
    return "".join(_parts(template, values))


def _parts(template: str, values: Mapping[str, date | int]) -> list[str]:
    parts = []
    for literal, name, form, conversion in Formatter().parse(template):
        parts.append(literal)
        if name is None:
            continue
        if name not in values or conversion:
            raise ValueError(
                f"{{{name}}} in {template!r} is no placeholder; there are "
                f"{', '.join('{' + known + '}' for known in values)}, and {{{{ stands for a brace"
            )
        value = values[name]
        parts.append(format(value, form) if form else _plain(value))
    return parts


def _plain(value: date | int) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


_T = TypeVar("_T")


def checked_template(template: _T) -> _T:
    """Return `template`. Raises ValueError if it cannot be filled in."""
    filled(template, values_of(*_TRIED_WITH))
    return template
