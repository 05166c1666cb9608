"""Read JSON Lines files: one object per line, with its values as text for PostgreSQL to parse.

Numbers keep all their digits, some of which could be lost if they were parsed as Arrow types. Does
not select the rows of a day: see `days.py`.
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
from sync_pipeline.sources.arrow.source import MAX_BATCH_ROWS
from sync_pipeline.sources.arrow.types import MAX_VALUE_LENGTH
from sync_pipeline.sources.files.columns import check_extra_columns
from sync_pipeline.sources.files.encoding import wide_encoding
from sync_pipeline.sources.unique_keys import DuplicateKeyError, unique_keys

LARGEST_LINE_BYTES = 64 * 1024 * 1024
"""The maximum length of a line in bytes."""

_BUFFER_BYTES = 1024 * 1024


class _NumberText(str):
    """The text of a number, exactly as it is in the file."""

    __slots__ = ()


_DECODER = json.JSONDecoder(
    parse_float=_NumberText,
    parse_int=_NumberText,
    parse_constant=str,  # NaN and infinities become text
    object_pairs_hook=unique_keys,
)


class JsonLinesFormat:
    """Reads a dataset's JSON Lines files."""

    def __init__(self, keys: FilesSource, columns: Mapping[str, str], schema: pa.Schema) -> None:
        self._keys = keys
        self._schema = schema
        self._texts = {name: _text_converter(kind) for name, kind in columns.items()}

    def rows(self, stream: pa.NativeFile, where: str) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file in batches with the dataset's columns. A missing key is NULL.

        Raises OSError, or SourceError with a message that starts with `where`.
        """
        numbers: list[int] = []
        rows: list[list[str | None]] = []
        is_first = True
        for number, line in _lines(stream):
            if is_first:
                _check_start(line, where)
                is_first = False
            rows.append(self._row(line, f"{where}, line {number}"))
            numbers.append(number)
            if len(rows) == MAX_BATCH_ROWS:
                yield self._batch(rows, numbers, where)
                rows, numbers = [], []
        if rows:
            yield self._batch(rows, numbers, where)

    def _row(self, line: bytes, where: str) -> list[str | None]:
        if len(line) > LARGEST_LINE_BYTES:
            raise SourceError(f"{where} is longer than {LARGEST_LINE_BYTES // 1024 // 1024} MiB")
        try:
            value = _DECODER.decode(line.decode().strip())
            if isinstance(value, dict):
                if value.keys() - self._texts.keys():
                    check_extra_columns(set(value), self._schema.names, self._keys, where)
                return [text(value.get(name)) for name, text in self._texts.items()]
        except UnicodeDecodeError as error:
            raise SourceError(f"{where} is not valid UTF-8: {error.reason}") from error
        except json.JSONDecodeError as error:
            raise SourceError(
                f"{where} is not valid JSON: {error.msg}, at character {error.colno}"
            ) from error
        except DuplicateKeyError as error:
            key = error.key[:MAX_VALUE_LENGTH]
            raise SourceError(
                f"{where} has the key {key!r} twice in one object, so its value is ambiguous; "
                "remove one of them from the file"
            ) from error
        except RecursionError as error:
            raise SourceError(f"{where} is nested too deeply") from error
        raise SourceError(f"{where} is not a JSON object")

    def _batch(
        self, rows: list[list[str | None]], numbers: list[int], where: str
    ) -> pa.RecordBatch:
        try:
            columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        except UnicodeEncodeError as error:
            line = next(n for n, row in zip(numbers, rows, strict=True) if _has_lone_surrogate(row))
            raise SourceError(f"{where}, line {line} has a lone surrogate: {error}") from error
        return pa.record_batch(columns, schema=self._schema)


def _check_start(line: bytes, where: str) -> None:
    """Raise SourceError, whose message starts with `where`, if a file that begins with `line` is in
    another format."""
    encoding = wide_encoding(line)
    if encoding is not None:
        raise SourceError(
            f"{where} is encoded in {encoding.upper()}; convert the file to UTF-8, the encoding of "
            "JSON Lines"
        )
    if line.lstrip().startswith(b"["):
        raise SourceError(
            f"{where} contains a JSON array; convert the file to JSON Lines, which has one object "
            "per line, for example with: jq -c '.[]'"
        )


def _lines(stream: pa.NativeFile) -> Iterator[tuple[int, bytes]]:
    """Yield each non-blank line with its number, starting at 1. A line that is too long is cut off
    one byte after the maximum length."""
    lines = io.BufferedReader(stream, _BUFFER_BYTES)
    for number in count(1):
        line = lines.readline(LARGEST_LINE_BYTES + 1)
        if not line:
            return
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line


def _text_converter(kind: str) -> Callable[[Any], str | None]:
    """Return a function that converts a value to the text format of the PostgreSQL type `kind`."""
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
    """Return `value` as JSON, with its numbers unchanged."""
    if isinstance(value, _NumberText):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json(key)}: {_json(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _has_lone_surrogate(row: Sequence[str | None]) -> bool:
    """Return whether a value contains a lone surrogate, which UTF-8 cannot encode."""
    return any("\ud800" <= sign <= "\udfff" for value in row if value for sign in value)
