"""JSON Lines files: one object a line, its values as text for PostgreSQL to read.

Numbers keep the digits they are written with, which no parser into Arrow's types would.
"""

import codecs
import io
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import pyarrow as pa

from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.arrow.source import ROWS_AT_ONCE
from sync_pipeline.sources.files.columns import refuse_extra

LARGEST_LINE_BYTES = 64 * 1024 * 1024
"""A line that is longer is refused."""

_BUFFER_BYTES = 1024 * 1024


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_Number)


class JsonLinesFormat:
    """How a dataset's JSON Lines files are read."""

    def __init__(self, keys: FilesSource, columns: Mapping[str, str], schema: pa.Schema) -> None:
        self._keys = keys
        self._schema = schema
        self._texts = {name: _text_for(kind) for name, kind in columns.items()}

    def rows(self, stream: pa.NativeFile, where: str) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file, in batches of the dataset's columns; a key that an object has
        not is NULL. Raises SourceError, which begins with `where`, and OSError."""
        numbers: list[int] = []
        rows: list[list[str | None]] = []
        for number, line in _lines(stream):
            rows.append(self._row(line, f"{where}, line {number}"))
            numbers.append(number)
            if len(rows) == ROWS_AT_ONCE:
                yield self._batch(rows, numbers, where)
                rows, numbers = [], []
        if rows:
            yield self._batch(rows, numbers, where)

    def _row(self, line: bytes, where: str) -> list[str | None]:
        if len(line) > LARGEST_LINE_BYTES:
            raise SourceError(f"{where} is longer than {LARGEST_LINE_BYTES // 1024 // 1024} MiB")
        try:
            given = _DECODER.decode(line.decode().strip())
            if isinstance(given, dict):
                if given.keys() - self._texts.keys():
                    refuse_extra(set(given), self._schema.names, self._keys, where)
                return [text(given.get(name)) for name, text in self._texts.items()]
        except UnicodeDecodeError as error:
            raise SourceError(f"{where} is not written in UTF-8: {error.reason}") from error
        except json.JSONDecodeError as error:
            raise SourceError(
                f"{where} is no JSON: {error.msg}, at character {error.colno}"
            ) from error
        except RecursionError as error:
            raise SourceError(f"{where} is nested too deeply") from error
        raise SourceError(f"{where} is JSON, but no object")

    def _batch(
        self, rows: list[list[str | None]], numbers: list[int], where: str
    ) -> pa.RecordBatch:
        try:
            columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        except UnicodeEncodeError as error:
            line = next(n for n, row in zip(numbers, rows, strict=True) if _is_broken(row))
            raise SourceError(f"{where}, line {line} holds half a character: {error}") from error
        return pa.record_batch(columns, schema=self._schema)


def _lines(stream: pa.NativeFile) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, numbered from 1; the beginning of a too long one."""
    lines = io.BufferedReader(stream, _BUFFER_BYTES)
    for number in count(1):
        line = lines.readline(LARGEST_LINE_BYTES + 1)
        if not line:
            return
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line


def _text_for(kind: str) -> Callable[[Any], str | None]:
    """Return how a value becomes what PostgreSQL reads as a value of type `kind`."""
    if kind in ("json", "jsonb"):
        return lambda value: None if value is None else _json(value)
    return _array if kind.endswith("[]") else _text


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _json(value)


def _array(value: Any) -> str | None:
    if not isinstance(value, list):
        return _text(value)
    elements = []
    for element in value:
        text = _array(element)
        if text is not None and not isinstance(element, list):
            text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        elements.append("NULL" if text is None else text)
    return "{" + ",".join(elements) + "}"


def _json(value: Any) -> str:
    """Return `value` as JSON, its numbers as they were written."""
    if isinstance(value, _Number):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json(key)}: {_json(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _is_broken(row: Sequence[str | None]) -> bool:
    """Return whether a value holds a lone surrogate, which UTF-8 has no bytes for."""
    return any("\ud800" <= sign <= "\udfff" for value in row if value for sign in value)
