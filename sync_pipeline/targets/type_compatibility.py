"""Which target columns take every value of a source's type, and in which COPY format.

Never one that would round, cut or shift a value: PostgreSQL reads a numeric of more places, or a
time with a zone where there is none, without a word.
"""

import re

from sync_pipeline.sources.base import CopyFormat

_INTEGERS = ("smallint", "integer", "bigint")
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_TEXTS = ("character varying", "text")
_BOUND = re.compile(r"(?P<head>[^(]+)\((?P<first>\d+)(?:,(?P<second>-?\d+))?\)(?P<tail>.*)")
# What text is parsed as without losing any of it: strings, enums, and PostgreSQL's other types (U:
# json, uuid, …; I: network addresses), but no number, time or boolean.
_PARSED = ("S", "E", "U", "I", "domain")
_CUTS = ("name",)  # its values are cut at 63 bytes


def format_for(source: str, target: str, bare_target: str, category: str) -> CopyFormat | None:
    """Return the fastest format in which a target column takes every value of `source`.

    None if it does not. Types are as PostgreSQL writes them, `bare_target` without its bound;
    `category` is the target type's in pg_type, or "domain".
    """
    if target == source:
        return CopyFormat.BINARY
    bare, bounds = _split(source)
    if target in _TEXTS and bare in _TEXTS:
        return CopyFormat.BINARY
    # numeric takes any numeric(10,2); "timestamp(3) with time zone" ends behind the bound.
    if target == bare_target == bare:
        return CopyFormat.BINARY
    if _is_wider(bare, bounds, target):
        return CopyFormat.TEXT
    if source == "text" and category in _PARSED and not _split(target)[1] and target not in _CUTS:
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
    """Return a type without its bound, and the bound."""
    match = _BOUND.fullmatch(type_name)
    if match is None:
        return type_name, ()
    numbers = tuple(int(number) for number in (match["first"], match["second"]) if number)
    bare = match["head"] + match["tail"]
    if bare == "numeric" and len(numbers) == 1:
        numbers = (*numbers, 0)
    return bare, numbers
