"""Convert rows with declared column types to text, for PostgreSQL to parse as these types.

Does not convert columns that keep their Arrow types: see `types.py`.
"""

from collections.abc import Generator, Iterable, Mapping
from typing import Any

import pyarrow as pa

from sync_pipeline.config.sources.date_format import parse_date
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.arrow.copy import as_text
from sync_pipeline.sources.arrow.source import MAX_BATCH_ROWS
from sync_pipeline.sources.arrow.types import (
    MAX_VALUE_LENGTH,
    column_type,
    convert_for_copy,
    to_json,
    translate_conversion_errors,
    unwrap,
)


def text_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Return an Arrow schema in which all of these columns are text."""
    return pa.schema([(name, pa.string()) for name in columns])


def to_text_batches(
    rows: Iterable[Any], columns: Mapping[str, str], where: str
) -> Generator[pa.RecordBatch, None, None]:
    """Yield `rows` as batches of text, for PostgreSQL to parse as the types in `columns`.

    Each item of `rows` is one row, as a mapping keyed by column name, or a record batch. A missing
    column is NULL. Raises SourceError, whose message starts with `where`, for an undeclared column.
    """
    schema = text_schema(columns)
    mappings: list[Mapping[str, Any]] = []
    for row in rows:
        if isinstance(row, Mapping):
            mappings.append(row)
        elif not isinstance(row, pa.RecordBatch):
            raise SourceError(
                f"{where} yielded {type(row).__name__}; it must yield mappings keyed by column "
                "name, or Arrow record batches"
            )
        if len(mappings) == MAX_BATCH_ROWS or isinstance(row, pa.RecordBatch):
            yield from _from_mappings(mappings, schema, where)
            mappings = []
        if isinstance(row, pa.RecordBatch):
            yield _from_arrow(row, columns, schema, where)
    yield from _from_mappings(mappings, schema, where)


def _from_mappings(
    mappings: list[Mapping[str, Any]], schema: pa.Schema, where: str
) -> Generator[pa.RecordBatch, None, None]:
    if not mappings:
        return
    _check_declared({str(name) for row in mappings for name in row}, schema, where)
    columns = [
        pa.array([value_to_text(row.get(name)) for row in mappings], pa.string())
        for name in schema.names
    ]
    yield pa.record_batch(columns, schema=schema)


def _from_arrow(
    batch: pa.RecordBatch, declared: Mapping[str, str], schema: pa.Schema, where: str
) -> pa.RecordBatch:
    _check_declared(set(batch.schema.names), schema, where)
    texts = [
        column_to_text(batch.column(name), name, declared[name], where)
        if name in batch.schema.names
        else pa.nulls(batch.num_rows, pa.string())
        for name in schema.names
    ]
    return pa.record_batch(texts, schema=schema)


def column_to_text(column: pa.Array, name: str, declared: str, where: str) -> pa.Array:
    """Return a column as text, for PostgreSQL to parse as type `declared`.

    Keeps nanoseconds if `declared` is a text type. Otherwise raises SourceError, whose message
    starts with `where`, for a value that would be rounded.
    """
    column = unwrap(column)
    is_time = pa.types.is_timestamp(column.type) or pa.types.is_time(column.type)
    if is_time and declared.startswith(("text", "character")):
        return as_text(column)
    with translate_conversion_errors(name, column.type, where):
        return as_text(convert_for_copy(column, column_type(column.type)))


def to_iso_dates(batch: pa.RecordBatch, column: str, form: str, where: str) -> pa.RecordBatch:
    """Return the rows with the values of the text column `column`, which are in the strptime format
    `form`, in ISO 8601 format.

    Raises SourceError, whose message starts with `where`, for a value in another format.
    """
    at = batch.schema.get_field_index(column)
    values = batch.column(at).dictionary_encode()
    dates = pa.array(
        [_to_iso(text, column, form, where) for text in values.dictionary.to_pylist()], pa.string()
    )
    return batch.set_column(at, column, dates.take(values.indices))


def _to_iso(text: str, column: str, form: str, where: str) -> str:
    try:
        return parse_date(text, form).isoformat(sep=" ").removesuffix(" 00:00:00")
    except ValueError:
        raise SourceError(
            f"{where} the day_column {column!r} contains {text[:MAX_VALUE_LENGTH]!r}, which is not "
            f"a date in the format {form!r}; correct the value, or 'date_format' in its defs.yaml"
        ) from None


def _check_declared(names: set[str], schema: pa.Schema, where: str) -> None:
    unknown = names - set(schema.names)
    if unknown:
        raise SourceError(
            f"{where} yielded a column {min(unknown)!r} that 'columns' does not declare; add it "
            "there with its type, or leave it out of the rows"
        )


def value_to_text(value: Any) -> str | None:
    """Return `value` in PostgreSQL's text format, or None for NULL."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, (dict, list)):
        return to_json(value)
    return str(value)
