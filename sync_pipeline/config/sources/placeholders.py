"""Placeholders for the day in a request: `{day:%Y-%m-%d}`, `{begin}`, `{end_epoch}` and others.

`{day}` and `{next_day}` are dates. `{begin}` is the day's first instant and `{end}` the first
instant after the day, in the dataset's time zone; `{begin_utc}`, `{begin_epoch}` (whole seconds)
and `{begin_epoch_ms}` are other forms of `{begin}`; `{end}` has the same forms. A colon and a
Python strftime format may follow the name.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from string import Formatter
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sync_pipeline.config.day_bounds import DayType, day_bounds

_SINGLE_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SAMPLE = (date(2025, 10, 1), ZoneInfo("UTC"))


def values_of(day: date, zone: ZoneInfo) -> dict[str, date | int]:
    """Return the value of each placeholder for `day`."""
    bounds = day_bounds(day, DayType.TIMESTAMPTZ, zone)
    values: dict[str, date | int] = {"day": day, "next_day": day + timedelta(days=1)}
    for name, instant in (("begin", bounds.lower), ("end", bounds.upper)):
        assert isinstance(instant, datetime)  # noqa: S101  always true for TIMESTAMPTZ
        values[name] = instant.astimezone(zone)
        values[f"{name}_utc"] = instant.astimezone(timezone.utc)
        seconds = int(instant.timestamp())  # exact: offsets change at whole seconds
        values[f"{name}_epoch"], values[f"{name}_epoch_ms"] = seconds, seconds * 1000
    return values


def fill(template: Any, values: Mapping[str, date | int]) -> Any:
    """Return `template` (any JSON value) with the placeholders in its strings replaced.

    A string that consists of a single numeric placeholder becomes a number.
    """
    if isinstance(template, dict):
        return {fill(name, values): fill(value, values) for name, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = _SINGLE_PLACEHOLDER.fullmatch(template)
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
                f"{{{name}}} in {template!r} is not a placeholder; use one of "
                f"{', '.join('{' + known + '}' for known in values)}, or {{{{ for a literal brace"
            )
        value = values[name]
        parts.append(format(value, form) if form else _plain(value))
    return parts


def _plain(value: date | int) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


_T = TypeVar("_T")


def check_template(template: _T) -> _T:
    """Return `template` unchanged. Raises ValueError if its placeholders are not valid."""
    fill(template, values_of(*_SAMPLE))
    return template
