"""Encode Arrow record batches in PostgreSQL's COPY formats.

The binary format is encoded by pgpq, which is the fastest way to load Arrow data into PostgreSQL
(see bench/README.md for the alternatives). The text format is used if a target column is wider than
its source column, or if rows must be checked one by one: in that format, each row is one line.
Does not map types: see `types.py`.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol

import pgpq
import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.sources.base import CopyFormat

NULL = "\\N"
_ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
_OLDEST, _NEWEST = date(1, 1, 1), date(9999, 12, 31)


class Encoder(Protocol):
    """Encodes the data of one COPY: a header, then the rows of each batch, then a trailer."""

    def begin(self) -> bytes: ...

    def rows(self, batch: pa.RecordBatch) -> bytes: ...

    def end(self) -> bytes: ...


def make_encoder(schema: pa.Schema, copy_format: CopyFormat) -> Encoder:
    """Return an encoder for batches of `schema`, whose types must be `ColumnType.arrow` types."""
    return _Binary(schema) if copy_format is CopyFormat.BINARY else _Text()


class _Binary:
    def __init__(self, schema: pa.Schema) -> None:
        self._encoder = pgpq.ArrowToPostgresBinaryEncoder(schema)

    def begin(self) -> bytes:
        return bytes(self._encoder.write_header())

    def rows(self, batch: pa.RecordBatch) -> bytes:
        return bytes(self._encoder.write_batch(batch))

    def end(self) -> bytes:
        return bytes(self._encoder.finish())


class _Text:
    def begin(self) -> bytes:
        return b""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        if batch.num_rows == 0:
            return b""
        columns = [_escape(column) for column in batch]
        columns[-1] = pc.binary_join_element_wise(columns[-1], "", "\n")
        return _string_bytes(pc.binary_join_element_wise(*columns, "\t"))

    def end(self) -> bytes:
        return b""


def _escape(column: pa.Array) -> pa.Array:
    text = as_text(column)
    if pa.types.is_string(column.type) or pa.types.is_list(column.type):
        found = _string_bytes(text)
        for special, escape in _ESCAPES:
            if special.encode() in found:
                text = pc.replace_substring(text, special, escape)
    elif pa.types.is_binary(column.type):
        text = pc.replace_substring(text, "\\", "\\\\")
    return pc.fill_null(text, NULL)


def _string_bytes(text: pa.Array) -> bytes:
    """Return the concatenated values of a string column, as stored in memory."""
    _, offsets, values = text.buffers()
    if offsets is None or values is None:
        return b""
    bounds = memoryview(offsets).cast("i")
    return bytes(memoryview(values)[bounds[text.offset] : bounds[text.offset + len(text)]])


def as_text(column: pa.Array) -> pa.Array:
    """Return the values of `column` in PostgreSQL's text format."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_timestamp(kind) and kind.tz:
        local = pc.cast(pc.cast(column, pa.timestamp(kind.unit)), pa.string())
        return _add_eras(pc.binary_join_element_wise(local, "+00", ""))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _add_eras(pc.cast(column, pa.string()))
    if any(is_kind(kind) for is_kind in _CASTABLE_TYPES):
        return pc.cast(column, pa.string())
    return pa.array([None if v is None else _literal(v) for v in column.to_pylist()], pa.string())


_CASTABLE_TYPES: Sequence[Callable[[pa.DataType], bool]] = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_time,
)


_BEFORE_YEAR_1 = re.compile(r"(?P<sign>-?)(?P<year>\d{4,})(?P<rest>-.*)")


def _add_eras(text: pa.Array) -> pa.Array:
    """Convert dates before year 1 to PostgreSQL's notation: Arrow's year 0 becomes 1 BC."""
    if not pc.any(pc.or_(pc.starts_with(text, "-"), pc.starts_with(text, "0000-"))).as_py():
        return text
    return pa.array([None if t is None else _add_era(t) for t in text.to_pylist()], pa.string())


def _add_era(text: str) -> str:
    found = _BEFORE_YEAR_1.fullmatch(text)
    if found is None or not (found["sign"] or int(found["year"]) == 0):
        return text
    return f"{int(found['year']) + 1:04}{found['rest']} BC"


def _literal(value: Any) -> str:
    """Return a value in PostgreSQL's text format."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    if isinstance(value, list):
        return "{" + ",".join("NULL" if v is None else _quote(_literal(v)) for v in value) + "}"
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    return str(value)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
