"""Rows whose types a dataset declares: they travel as text, and PostgreSQL reads them as these."""

import json
from collections.abc import Generator, Iterable, Mapping
from typing import Any

import pyarrow as pa

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.arrow.copy import as_text
from sync_pipeline.sources.arrow.source import ROWS_AT_ONCE
from sync_pipeline.sources.arrow.types import column_type, naming, travelling, unwrapped


def schema_of(columns: Mapping[str, str]) -> pa.Schema:
    """Return the Arrow schema of rows with these declared columns."""
    return pa.schema([(name, pa.string()) for name in columns])


def as_declared(
    rows: Iterable[Any], columns: Mapping[str, str], where: str
) -> Generator[pa.RecordBatch, None, None]:
    """Yield `rows`, mappings by column name or record batches, as batches of text, which PostgreSQL
    reads as the types of `columns`.

    A column that a row lacks is NULL. Raises SourceError, which begins with `where`, for a column
    that was not declared.
    """
    schema = schema_of(columns)
    mappings: list[Mapping[str, Any]] = []
    for row in rows:
        if isinstance(row, Mapping):
            mappings.append(row)
        elif not isinstance(row, pa.RecordBatch):
            raise SourceError(
                f"{where} gave {type(row).__name__}; it must yield mappings by column name, or "
                "Arrow record batches"
            )
        if len(mappings) == ROWS_AT_ONCE or isinstance(row, pa.RecordBatch):
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
    _refuse_unknown({str(name) for row in mappings for name in row}, schema, where)
    columns = [
        pa.array([text_of(row.get(name)) for row in mappings], pa.string()) for name in schema.names
    ]
    yield pa.record_batch(columns, schema=schema)


def _from_arrow(
    batch: pa.RecordBatch, declared: Mapping[str, str], schema: pa.Schema, where: str
) -> pa.RecordBatch:
    _refuse_unknown(set(batch.schema.names), schema, where)
    texts = [
        declared_text(batch.column(name), name, declared[name], where)
        if name in batch.schema.names
        else pa.nulls(batch.num_rows, pa.string())
        for name in schema.names
    ]
    return pa.record_batch(texts, schema=schema)


def declared_text(column: pa.Array, name: str, declared: str, where: str) -> pa.Array:
    """Return a column as text for PostgreSQL to read as `declared`: with nanoseconds, if that is a
    text itself. Raises SourceError, which begins with `where`, for what would be rounded."""
    column = unwrapped(column)
    is_time = pa.types.is_timestamp(column.type) or pa.types.is_time(column.type)
    if is_time and declared.startswith(("text", "character")):
        return as_text(column)
    with naming(name, column.type, where):
        return as_text(travelling(column, column_type(column.type)))


def _refuse_unknown(names: set[str], schema: pa.Schema, where: str) -> None:
    unknown = names - set(schema.names)
    if unknown:
        raise SourceError(
            f"{where} gave a column {min(unknown)!r} that 'columns' does not declare; add it there "
            "with its type, or leave it out of the rows"
        )


def text_of(value: Any) -> str | None:
    """Return `value` as PostgreSQL reads it; None for its NULL."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
