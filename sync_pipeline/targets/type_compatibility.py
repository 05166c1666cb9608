"""Find out whether a target column accepts every value of a source type, and in which COPY format.

A column that would round, truncate or shift values is not compatible, because PostgreSQL converts
such values without an error. Does not read the table's columns: see `table.py`.
"""

import re

from sync_pipeline.sources.base import CopyFormat

_INTEGERS = ("smallint", "integer", "bigint")
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_TEXTS = ("character varying", "text")
_BOUND = re.compile(r"(?P<head>[^(]+)\((?P<first>\d+)(?:,(?P<second>-?\d+))?\)(?P<tail>.*)")
# pg_type categories into which text can be parsed without loss: strings, enums, user-defined types
# (json, uuid, …), network addresses and domains, but not numbers, times or booleans.
_PARSED = ("S", "E", "U", "I", "domain")
_TRUNCATING = ("name",)  # values are truncated to 63 bytes


def format_for(source: str, target: str, bare_target: str, category: str) -> CopyFormat | None:
    """Return the fastest COPY format in which a target column accepts every value of `source`, or
    None if there is none.

    Types are written as in the output of PostgreSQL's format_type; `bare_target` is `target`
    without its modifier. `category` is the target type's typcategory, or "domain".
    """
    if target == source:
        return CopyFormat.BINARY
    bare, bounds = _split(source)
    if target in _TEXTS and bare in _TEXTS:
        return CopyFormat.BINARY
    # Without a modifier, the target accepts any modifier: numeric accepts numeric(10,2).
    if target == bare_target == bare:
        return CopyFormat.BINARY
    if _is_wider(bare, bounds, target):
        return CopyFormat.TEXT
    if (
        source == "text"
        and category in _PARSED
        and not _split(target)[1]
        and target not in _TRUNCATING
    ):
        return CopyFormat.TEXT
    return None


def _is_wider(bare: str, bounds: tuple[int, ...], target: str) -> bool:
    to, to_bounds = _split(target)
    if bare in _INTEGERS and to in _INTEGERS:
        return _INTEGERS.index(to) > _INTEGERS.index(bare)
    if bare in _INTEGERS and to == "numeric":
        return not to_bounds or to_bounds[0] - to_bounds[1] >= _DIGITS[bare]
    if bare == to == "numeric" and bounds and to_bounds:
        return to_bounds[1] >= bounds[1] and to_bounds[0] - to_bounds[1] >= bounds[0] - bounds[1]
    if bare == to == "character varying" and bounds and to_bounds:
        return to_bounds >= bounds
    return (bare, to) in (("real", "double precision"), ("json", "jsonb"), ("jsonb", "json"))


def _split(type_name: str) -> tuple[str, tuple[int, ...]]:
    """Return a type without its modifier, and the modifier."""
    match = _BOUND.fullmatch(type_name)
    if match is None:
        return type_name, ()
    numbers = tuple(int(number) for number in (match["first"], match["second"]) if number)
    bare = match["head"] + match["tail"]
    if bare == "numeric" and len(numbers) == 1:
        numbers = (*numbers, 0)
    return bare, numbers
