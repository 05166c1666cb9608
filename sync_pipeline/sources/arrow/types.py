"""Arrow's types as PostgreSQL's: which column each becomes, and the form its values travel in.

Nothing is rounded or cut: nanoseconds that microseconds cannot hold are an error. What PostgreSQL
has no type for travels as JSON: structs, maps and lists of them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.config.day_bounds import DayType
from sync_pipeline.errors import SourceError, one_line

DAY_TYPES = {
    DayType.DATE: pa.date32(),
    DayType.TIMESTAMP: pa.timestamp("us"),
    DayType.TIMESTAMPTZ: pa.timestamp("us", "UTC"),
}
"""What a day column is read as."""

WRITTEN = {
    DayType.DATE: "2025-10-01",
    DayType.TIMESTAMP: "2025-10-01 12:00:00, without an offset",
    DayType.TIMESTAMPTZ: "2025-10-01 12:00:00+08:00, with an offset",
}
"""How a day is written where it stands as text."""

_MAX_SHOWN = 40
_PLAIN = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.binary(): "bytea",
    pa.date32(): "date",
    pa.time64("us"): "time without time zone",
    pa.duration("us"): "interval",
}
# What holds every value of a type that PostgreSQL does not have.
_WIDER = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.null(): pa.string(),
}


@dataclass(frozen=True)
class ColumnType:
    """What an Arrow column becomes: PostgreSQL's type, the Arrow type it travels as, and whether
    it can travel in binary form."""

    postgres: str
    arrow: pa.DataType
    binary: bool = True


def column_type(given: pa.DataType) -> ColumnType:
    """Return what a column of type `given` becomes."""
    travels = _travels_as(given)
    if travels in _PLAIN:
        return ColumnType(_PLAIN[travels], travels)
    if pa.types.is_decimal128(travels):
        return ColumnType(f"numeric({travels.precision},{travels.scale})", travels)
    if pa.types.is_decimal(travels):
        return ColumnType("numeric", travels, binary=False)
    if pa.types.is_timestamp(travels):
        zone = "with" if travels.tz else "without"
        return ColumnType(f"timestamp {zone} time zone", travels)
    if pa.types.is_list(travels) and _is_element(travels.value_type):
        element = column_type(travels.value_type)
        return ColumnType(f"{element.postgres}[]", travels, element.binary)
    return ColumnType("jsonb", pa.string(), binary=False)


def travelling(array: pa.Array, becomes: ColumnType) -> pa.Array:
    """Return `array` in the form it travels in. Raises pyarrow.ArrowException, and ValueError for
    nanoseconds within JSON, for what it cannot hold."""
    array = unwrapped(array)
    if becomes.postgres == "jsonb":
        texts = [None if value is None else _json(value) for value in array.to_pylist()]
        return pa.array(texts, pa.string())
    return array if array.type == becomes.arrow else pc.cast(array, becomes.arrow)


@contextmanager
def naming(column: str, kind: pa.DataType, where: str) -> Iterator[None]:
    """Raise what cannot be held of a column within the block as a SourceError that begins with
    `where`."""
    try:
        yield
    except (pa.ArrowException, ValueError) as error:
        becomes = column_type(kind).postgres
        is_cut = "nanosecond" in str(error).lower() or "would lose data" in str(error)
        what = (
            f"finer than {becomes} holds" if is_cut else f"that is no {becomes}, {one_line(error)}"
        )
        raise SourceError(
            f"{where}: column {column!r} has a value {what}; declare the column as text under "
            "'columns', or mend it at the source"
        ) from error


def first_unreadable(texts: pa.Array, day_type: DayType) -> str:
    """Return, as an error shows it, the first of some texts that is no value of a day's type."""
    for text in texts:
        try:
            pc.cast(text, DAY_TYPES[day_type])
        except pa.ArrowInvalid:
            return repr(text.as_py()[:_MAX_SHOWN])
    raise AssertionError(day_type)


def unwrapped(array: pa.Array) -> pa.Array:
    """Return the values of an array of an extension's type, or of a dictionary."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _travels_as(given: pa.DataType) -> pa.DataType:
    if isinstance(given, pa.BaseExtensionType):
        return _travels_as(given.storage_type)
    if pa.types.is_dictionary(given):
        return _travels_as(given.value_type)
    if given in _WIDER:
        return _WIDER[given]
    if pa.types.is_fixed_size_binary(given):
        return pa.binary()
    if pa.types.is_decimal(given):
        if given.scale < 0:
            return pa.decimal256(76, 0)
        return pa.decimal128(given.precision, given.scale) if given.precision <= 38 else given
    if pa.types.is_timestamp(given):
        return pa.timestamp("us", given.tz)
    if pa.types.is_time(given):
        return pa.time64("us")
    if pa.types.is_duration(given):
        return pa.duration("us")
    if (
        pa.types.is_list(given)
        or pa.types.is_large_list(given)
        or pa.types.is_fixed_size_list(given)
    ):
        element = _travels_as(given.value_type)
        if _is_element(element):
            return pa.list_(element)
    return given


def _is_element(kind: pa.DataType) -> bool:
    """Return whether PostgreSQL has arrays of these."""
    return kind in _PLAIN or pa.types.is_decimal128(kind) or pa.types.is_timestamp(kind)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
