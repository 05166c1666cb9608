"""Values as database drivers return them, as Arrow arrays: nothing is rounded, cut or guessed.

Drivers differ: SQLite and pymysql (as we open it) give dates and decimals as text, which Arrow
reads much faster than Python; others give Python's own types.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.arrow.declared import text_of
from sync_pipeline.sources.arrow.types import column_type
from sync_pipeline.sources.sql.types import Kind

_ZERO_DATE = re.compile(r"0000-|\d{4}-00|\d{4}-\d\d-00")
_MAX_SHOWN = 60
_WRONG = (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError)


class Converter:
    """Makes arrays of the values of one column. `naive_is_utc`: a time without a zone is one of
    UTC, where the column is an instant; else it is refused."""

    def __init__(
        self, name: str, kind: Kind, *, zero_as_null: bool = False, naive_is_utc: bool = False
    ) -> None:
        self._name = name
        self._kind = kind
        self._zero_as_null = zero_as_null
        self._naive_is_utc = naive_is_utc
        self._taken = {type(None)} | _taken(kind.arrow)

    def array(self, values: Sequence[Any], where: str) -> pa.Array:
        """Return the values as an array. Raises SourceError, which begins with `where`, for the
        first that cannot be one."""
        try:
            return self._array(values)
        except _WRONG:
            for value in values:
                try:
                    self._array([value])
                except _WRONG as error:
                    raise self._cannot_hold(value, where) from error
            raise

    def _array(self, values: Sequence[Any]) -> pa.Array:
        kind = self._kind.arrow
        if self._kind.bits:
            values = [None if v is None else int.from_bytes(_bytes(v), "big") for v in values]
        if self._kind.declared is not None:
            return pa.array([text_of(value) for value in values], pa.string())
        # Arrow would take 1.5 for the integer 1, and 5 for a date in 1970.
        if not set(map(type, values)) <= self._taken:
            raise TypeError
        if pa.types.is_boolean(kind):
            return pa.array([_boolean(value) for value in values], kind)
        if pa.types.is_decimal(kind):
            return _decimals(values, kind)
        if pa.types.is_float32(kind):
            return pa.array(values, pa.float64()).cast(kind)
        if str in self._taken and not pa.types.is_string(kind):
            return self._times(values)
        return pa.array(values, kind)

    def _times(self, values: Sequence[Any]) -> pa.Array:
        kind = self._kind.arrow
        instants = pa.types.is_timestamp(kind) and kind.tz is not None
        if instants and any(isinstance(v, (int, float)) for v in values):
            return pa.array([_instant(value) for value in values], kind)
        if not any(isinstance(v, str) for v in values):
            self._check_zones(values)
            return pa.array(values, kind)
        texts = [self._text(value) for value in values]
        if pa.types.is_time(kind):
            return pa.array([None if v is None else time.fromisoformat(v) for v in texts], kind)
        if instants and self._naive_is_utc:
            naive = pa.array(texts, pa.string()).cast(pa.timestamp("us"))
            return pc.assume_timezone(naive, "UTC")
        return pa.array(texts, pa.string()).cast(kind)

    def _text(self, value: Any) -> str | None:
        if value is None or (
            self._zero_as_null and isinstance(value, str) and _ZERO_DATE.match(value)
        ):
            return None
        return value if isinstance(value, str) else str(value)

    def _check_zones(self, values: Sequence[Any]) -> None:
        """Raise ValueError for an instant without a zone, and a local time with one."""
        kind = self._kind.arrow
        if not pa.types.is_timestamp(kind) or (kind.tz and self._naive_is_utc):
            return
        for value in values:
            if value is not None and (value.tzinfo is not None) != (kind.tz is not None):
                raise ValueError(value)

    def _cannot_hold(self, value: Any, where: str) -> SourceError:
        what = self._kind.declared or column_type(self._kind.arrow).postgres
        said = f"{where}: column {self._name!r} has the value {shown(value)}, which is no {what}"
        if isinstance(value, str) and _ZERO_DATE.match(value):
            return SourceError(
                f"{said}; mend it at the source, set 'zero_dates: as_null', or declare the column "
                "as text under 'types'"
            )
        return SourceError(f"{said}; mend it at the source, or declare the column under 'types'")


def shown(value: Any) -> str:
    """Return a value as an error shows it: its beginning, if it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _taken(kind: pa.DataType) -> set[type]:
    """Return the types of values that an Arrow type is made of."""
    for is_kind, types in _TAKEN:
        if is_kind(kind):
            return types | ({int, float} if pa.types.is_timestamp(kind) and kind.tz else set())
    raise AssertionError(kind)


_TAKEN: tuple[tuple[Callable[[pa.DataType], bool], set[type]], ...] = (
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


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, bytearray)) else bytes([int(value)])


def _boolean(value: Any) -> bool | None:
    if value is None:
        return None
    if value in (0, 1):
        return bool(value)
    raise ValueError(value)


def _decimals(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if all(v is None or isinstance(v, str) for v in values):
        return pa.array(values, pa.string()).cast(kind)
    exact = [
        None if v is None else v if isinstance(v, Decimal) else Decimal(str(v)) for v in values
    ]
    return pa.array(exact, kind)


def _instant(value: Any) -> Any:
    """Return an instant given in seconds since 1970, whole or not."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return round(Decimal(str(value)) * 1_000_000)
    raise ValueError(value)
