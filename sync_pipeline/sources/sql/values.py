"""Convert the values that database drivers return to Arrow arrays, without rounding or truncating.

Drivers differ: SQLite and pymysql (as configured here) return dates and decimals as text, which
Arrow parses much faster than Python; others return Python objects. Does not choose the types: see
`types.py`.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.arrow.declared import value_to_text
from sync_pipeline.sources.arrow.types import column_type
from sync_pipeline.sources.sql.types import Kind

_ZERO_DATE = re.compile(r"0000-|\d{4}-00|\d{4}-\d\d-00")
_MAX_VALUE_LENGTH = 60
_CONVERSION_ERRORS = (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError)


class Converter:
    """Converts the values of one column to arrays.

    If `zero_as_null` is true, dates such as 0000-00-00 become NULL. If `naive_is_utc` is true, a
    time without a time zone in a column of instants counts as UTC; otherwise it is rejected.
    """

    def __init__(
        self, name: str, kind: Kind, *, zero_as_null: bool = False, naive_is_utc: bool = False
    ) -> None:
        self._name = name
        self._kind = kind
        self._zero_as_null = zero_as_null
        self._naive_is_utc = naive_is_utc
        self._accepted_types = {type(None)} | _accepted_types(kind.arrow)

    def array(self, values: Sequence[Any], where: str) -> pa.Array:
        """Return the values as an array. Raises SourceError, whose message starts with `where`, for
        the first value that cannot be converted."""
        try:
            return self._convert(values)
        except _CONVERSION_ERRORS:
            for value in values:
                try:
                    self._convert([value])
                except _CONVERSION_ERRORS as error:
                    raise self._invalid_value(value, where) from error
            raise

    def _convert(self, values: Sequence[Any]) -> pa.Array:
        kind = self._kind.arrow
        if self._kind.bits:
            values = [None if v is None else int.from_bytes(_to_bytes(v), "big") for v in values]
        if self._kind.declared is not None:
            return pa.array([value_to_text(value) for value in values], pa.string())
        # Arrow would convert 1.5 to the integer 1, and 5 to a date in 1970.
        if not set(map(type, values)) <= self._accepted_types:
            raise TypeError
        if pa.types.is_boolean(kind):
            return pa.array([_to_boolean(value) for value in values], kind)
        if pa.types.is_decimal(kind):
            return _to_decimals(values, kind)
        if pa.types.is_float32(kind):
            return pa.array(values, pa.float64()).cast(kind)
        if str in self._accepted_types and not pa.types.is_string(kind):
            return self._parse_times(values)
        return pa.array(values, kind)

    def _parse_times(self, values: Sequence[Any]) -> pa.Array:
        kind = self._kind.arrow
        instants = pa.types.is_timestamp(kind) and kind.tz is not None
        if instants and any(isinstance(v, (int, float)) for v in values):
            return pa.array([_to_instant(value) for value in values], kind)
        if not any(isinstance(v, str) for v in values):
            self._check_zones(values)
            return pa.array(values, kind)
        texts = [self._to_text(value) for value in values]
        if pa.types.is_time(kind):
            return pa.array([None if v is None else time.fromisoformat(v) for v in texts], kind)
        if instants and self._naive_is_utc:
            naive = pa.array(texts, pa.string()).cast(pa.timestamp("us"))
            return pc.assume_timezone(naive, "UTC")
        return pa.array(texts, pa.string()).cast(kind)

    def _to_text(self, value: Any) -> str | None:
        if value is None or (
            self._zero_as_null and isinstance(value, str) and _ZERO_DATE.match(value)
        ):
            return None
        return value if isinstance(value, str) else str(value)

    def _check_zones(self, values: Sequence[Any]) -> None:
        """Raise ValueError for an instant without a time zone, or a local time with one."""
        kind = self._kind.arrow
        if not pa.types.is_timestamp(kind) or (kind.tz and self._naive_is_utc):
            return
        for value in values:
            if value is not None and (value.tzinfo is not None) != (kind.tz is not None):
                raise ValueError(value)

    def _invalid_value(self, value: Any, where: str) -> SourceError:
        what = self._kind.declared or column_type(self._kind.arrow).postgres
        message = (
            f"{where}: column {self._name!r} has the value {abbreviate(value)}, which is not a "
            f"valid {what}"
        )
        if isinstance(value, str) and _ZERO_DATE.match(value):
            return SourceError(
                f"{message}; fix it in the source, set 'zero_dates: as_null', or declare the "
                "column as text under 'types'"
            )
        return SourceError(f"{message}; fix it in the source, or declare the column under 'types'")


def abbreviate(value: Any) -> str:
    """Return a value's `repr`, truncated if it is long, for an error message."""
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else text[: _MAX_VALUE_LENGTH - 1] + "…"


def _accepted_types(kind: pa.DataType) -> set[type]:
    """Return the Python types whose values are accepted for an Arrow type."""
    for is_kind, types in _ACCEPTED_TYPES:
        if is_kind(kind):
            return types | ({int, float} if pa.types.is_timestamp(kind) and kind.tz else set())
    raise AssertionError(kind)


_ACCEPTED_TYPES: tuple[tuple[Callable[[pa.DataType], bool], set[type]], ...] = (
    (pa.types.is_boolean, {bool, int}),
    (pa.types.is_integer, {bool, int}),
    (pa.types.is_floating, {float, int}),
    (pa.types.is_decimal, {Decimal, str, int, float}),
    (pa.types.is_string, {str}),
    (pa.types.is_binary, {bytes, bytearray, memoryview}),
    (pa.types.is_date, {date, str}),
    (pa.types.is_timestamp, {datetime, str}),
    (pa.types.is_time, {time, str}),
    (pa.types.is_duration, {timedelta}),
)


def _to_bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, bytearray)) else bytes([int(value)])


def _to_boolean(value: Any) -> bool | None:
    if value is None:
        return None
    if value in (0, 1):
        return bool(value)
    raise ValueError(value)


def _to_decimals(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if all(v is None or isinstance(v, str) for v in values):
        return pa.array(values, pa.string()).cast(kind)
    exact = [
        None if v is None else v if isinstance(v, Decimal) else Decimal(str(v)) for v in values
    ]
    return pa.array(exact, kind)


def _to_instant(value: Any) -> Any:
    """Convert seconds since 1970, possibly with a fraction, to microseconds since 1970."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return round(Decimal(str(value)) * 1_000_000)
    raise ValueError(value)
