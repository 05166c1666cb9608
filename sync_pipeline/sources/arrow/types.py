"""Map Arrow types to PostgreSQL types, and convert columns to the form that COPY needs.

No value is rounded or truncated: nanoseconds that microseconds cannot represent cause an error.
Types that PostgreSQL lacks (structs, maps, lists of these) become jsonb. Does not encode rows: see
`copy.py`.
"""

import json
import math
from collections.abc import Callable, Iterator
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
"""The Arrow type for each type of day column."""

DAY_FORMATS = {
    DayType.DATE: "2025-10-01",
    DayType.TIMESTAMP: "2025-10-01 12:00:00, without an offset",
    DayType.TIMESTAMPTZ: "2025-10-01 12:00:00+08:00, with an offset",
}
"""The text format of each type of day column, as shown in error messages."""

MAX_VALUE_LENGTH = 40
"""The maximum length of a value in an error message."""

_SIMPLE_TYPES = {
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
# Maps each type that PostgreSQL lacks to one that can hold all of its values.
_WIDER_TYPES = {
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
    """The PostgreSQL type of an Arrow column, the Arrow type that it is converted to for COPY, and
    whether binary COPY supports it."""

    postgres: str
    arrow: pa.DataType
    binary: bool = True


def column_type(arrow_type: pa.DataType) -> ColumnType:
    """Return the `ColumnType` for an Arrow type."""
    copy_type = _copy_type(arrow_type)
    if copy_type in _SIMPLE_TYPES:
        return ColumnType(_SIMPLE_TYPES[copy_type], copy_type)
    if pa.types.is_decimal128(copy_type):
        return ColumnType(f"numeric({copy_type.precision},{copy_type.scale})", copy_type)
    if pa.types.is_decimal(copy_type):
        return ColumnType("numeric", copy_type, binary=False)
    if pa.types.is_timestamp(copy_type):
        zone = "with" if copy_type.tz else "without"
        return ColumnType(f"timestamp {zone} time zone", copy_type)
    if pa.types.is_list(copy_type) and _is_element(copy_type.value_type):
        element = column_type(copy_type.value_type)
        return ColumnType(f"{element.postgres}[]", copy_type, element.binary)
    return ColumnType("jsonb", pa.string(), binary=False)


def convert_for_copy(array: pa.Array, kind: ColumnType) -> pa.Array:
    """Return `array` converted to the Arrow type of `kind`.

    Raises pyarrow.ArrowException for a value that does not fit, and ValueError for nanoseconds
    in a value that becomes JSON.
    """
    array = unwrap(array)
    if kind.postgres == "jsonb":
        texts = [
            None if value is None else to_json(value, default=_as_text)
            for value in array.to_pylist()
        ]
        return pa.array(texts, pa.string())
    return array if array.type == kind.arrow else pc.cast(array, kind.arrow)


@contextmanager
def translate_conversion_errors(column: str, kind: pa.DataType, where: str) -> Iterator[None]:
    """Turn conversion errors in the block into a SourceError about `column`.

    The message starts with `where`.
    """
    try:
        yield
    except (pa.ArrowException, ValueError) as error:
        type_name = column_type(kind).postgres
        is_truncated = "nanosecond" in str(error).lower() or "would lose data" in str(error)
        what = (
            f"that is more precise than {type_name}"
            if is_truncated
            else f"that is not a valid {type_name} ({one_line(error)})"
        )
        raise SourceError(
            f"{where}: column {column!r} has a value {what}; declare the column as text under "
            "'columns', or fix the value in the source"
        ) from error


def first_invalid(texts: pa.Array, day_type: DayType) -> str:
    """Return the first text that is not a valid `day_type`, quoted and shortened for a message."""
    for text in texts:
        try:
            pc.cast(text, DAY_TYPES[day_type])
        except pa.ArrowInvalid:
            return repr(text.as_py()[:MAX_VALUE_LENGTH])
    raise AssertionError(day_type)


def to_json(value: Any, default: Callable[[Any], str] = str) -> str:
    """Return `value` as JSON. NaN and infinities, which JSON lacks, become text, as in PostgreSQL's
    `to_jsonb`. `default` returns the text for other values that JSON lacks."""
    try:
        return json.dumps(value, ensure_ascii=False, default=default, allow_nan=False)
    except ValueError as error:
        if not str(error).startswith("Out of range float"):
            raise
    return json.dumps(_without_nan(value), ensure_ascii=False, default=default)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    is_number = not isinstance(value, float) or math.isfinite(value)
    return value if is_number else json.dumps(value)  # NaN, Infinity or -Infinity


def unwrap(array: pa.Array) -> pa.Array:
    """Return `array` without its extension type and dictionary encoding, if it has them."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _copy_type(arrow_type: pa.DataType) -> pa.DataType:
    if isinstance(arrow_type, pa.BaseExtensionType):
        return _copy_type(arrow_type.storage_type)
    if pa.types.is_dictionary(arrow_type):
        return _copy_type(arrow_type.value_type)
    if arrow_type in _WIDER_TYPES:
        return _WIDER_TYPES[arrow_type]
    if pa.types.is_fixed_size_binary(arrow_type):
        return pa.binary()
    if pa.types.is_decimal(arrow_type):
        if arrow_type.scale < 0:
            return pa.decimal256(76, 0)
        return (
            pa.decimal128(arrow_type.precision, arrow_type.scale)
            if arrow_type.precision <= 38
            else arrow_type
        )
    if pa.types.is_timestamp(arrow_type):
        return pa.timestamp("us", arrow_type.tz)
    if pa.types.is_time(arrow_type):
        return pa.time64("us")
    if pa.types.is_duration(arrow_type):
        return pa.duration("us")
    if (
        pa.types.is_list(arrow_type)
        or pa.types.is_large_list(arrow_type)
        or pa.types.is_fixed_size_list(arrow_type)
    ):
        element = _copy_type(arrow_type.value_type)
        if _is_element(element):
            return pa.list_(element)
    return arrow_type


def _is_element(kind: pa.DataType) -> bool:
    """Return whether a list with elements of this type can be copied as a PostgreSQL array."""
    return kind in _SIMPLE_TYPES or pa.types.is_decimal128(kind) or pa.types.is_timestamp(kind)


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
