"""Read CSV files. Every field is text; PostgreSQL parses it as the declared type.

Does not select the rows of a day: see `days.py`.
"""

import codecs
import re
from collections.abc import Callable, Generator

import pyarrow as pa
import pyarrow.csv as pacsv

from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.files.columns import align_columns, check_columns
from sync_pipeline.sources.files.encoding import wide_encoding

_MAX_COLUMNS = 1_664  # a PostgreSQL table has at most 1,600 columns
_TEXT_TYPES = {f"f{number}": pa.string() for number in range(_MAX_COLUMNS)}
_FIELD_COUNT_ERROR = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


class CsvFormat:
    """Reads a dataset's CSV files."""

    def __init__(self, keys: FilesSource, schema: pa.Schema) -> None:
        self._keys = keys
        self._schema = schema

    def rows(self, stream: pa.NativeFile, where: str) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file in batches with the dataset's columns.

        Raises OSError, or SourceError with a message that starts with `where`.
        """
        text = _Utf8(stream, self._keys.csv.encoding, self._ignores_blank_lines)
        try:
            yield from self._batches(text, where)
        except _WideEncodingError as error:
            raise SourceError(
                f"{where}: the file is encoded in {error.encoding.upper()}; set 'csv: {{encoding: "
                f"{error.encoding}}}' in its defs.yaml"
            ) from error
        except UnicodeError as error:
            raise SourceError(f"{where}: {self._encoding_message(str(error))}") from error
        except pa.ArrowInvalid as error:
            raise SourceError(f"{where}: {self._explain(str(error))}") from error

    def _batches(self, text: "_Utf8", where: str) -> Generator[pa.RecordBatch, None, None]:
        names: list[str] | None = None if self._keys.csv.header else self._schema.names
        last: pa.RecordBatch | None = None
        for batch in self._open(text):
            if not batch.num_rows:  # a block of blank lines
                continue
            rows = batch
            if last is None:
                if names is None:
                    names = self._header(batch, text.start)
                    rows = batch.slice(1)
                self._check(names, batch.num_columns, where)
                text.start = b""
            last = batch
            yield align_columns(rows.rename_columns(names), self._schema)
        if last is None and self._keys.csv.header:
            raise SourceError(f"{where} is empty; it must have at least a header line")
        if last is not None and self._ends_in_quotes(last, text):
            raise SourceError(
                f"{where}: the last field has no closing quote; the file may be truncated"
            )

    @property
    def _ignores_blank_lines(self) -> bool:
        """Whether blank lines are left out. With one column, they are rows with an empty field."""
        return len(self._schema) > 1

    def _open(self, text: "_Utf8") -> pacsv.CSVStreamingReader | tuple[()]:
        options = pacsv.ConvertOptions(
            column_types=_TEXT_TYPES,
            null_values=self._keys.csv.null_values,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        try:
            return self._parse(pa.PythonFile(text, "r"), options)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error) and text.is_empty:
                return ()
            raise

    def _parse(
        self,
        file: pa.NativeFile,
        options: pacsv.ConvertOptions,
        invalid_row_handler: Callable[[pacsv.InvalidRow], str] | None = None,
    ) -> pacsv.CSVStreamingReader:
        csv = self._keys.csv
        return pacsv.open_csv(
            file,
            # Read the header as a row, because types must be set before names are known.
            # Error messages contain row numbers only if threads are disabled.
            pacsv.ReadOptions(
                use_threads=False,
                block_size=csv.largest_row_mib * 1024 * 1024,
                autogenerate_column_names=True,
            ),
            pacsv.ParseOptions(
                delimiter=self._keys.delimiter,
                quote_char=csv.quote or False,
                newlines_in_values=bool(csv.quote),
                ignore_empty_lines=self._ignores_blank_lines,
                invalid_row_handler=invalid_row_handler,
            ),
            options,
        )

    def _header(self, batch: pa.RecordBatch, start: bytes) -> list[str]:
        """Return the column names in the first row, without the blanks around them. A name is empty
        if the column has none."""
        names = [column[0].as_py() for column in batch]
        if None in names:  # no name, or one that means NULL in other rows
            options = pacsv.ConvertOptions(column_types=_TEXT_TYPES, check_utf8=False)
            # The last row of the block may be incomplete.
            rows = self._parse(pa.BufferReader(start), options, lambda _: "skip")
            names = [column[0].as_py() for column in rows.read_next_batch()]
        return [name.strip() for name in names]

    def _check(self, names: list[str], fields: int, where: str) -> None:
        if len(names) != fields:
            raise SourceError(
                f"{where}: its first row has {fields} fields, but 'columns' declares {len(names)}"
            )
        if "" in names and self._keys.extra_columns == "fail":
            raise SourceError(
                f"{where} has no name for column {names.index('') + 1} in its header; name the "
                "column in the file, or set 'extra_columns: ignore' in its defs.yaml"
            )
        check_columns(names, self._schema.names, self._keys, where)

    def _ends_in_quotes(self, last: pa.RecordBatch, text: "_Utf8") -> bool:
        """Return whether the file ends inside a quoted field; pyarrow would not report this."""
        quote, value = self._keys.csv.quote, last.column(last.num_columns - 1)[-1].as_py()
        if not quote or value is None:
            return False
        field = quote + value.replace(quote, quote * 2)
        before = ("\n", "\r") if last.num_columns == 1 else (self._keys.delimiter,)
        return text.equals(field) or any(text.ends_with(sign + field) for sign in before)

    def _explain(self, message: str) -> str:
        fields = _FIELD_COUNT_ERROR.search(message)
        if fields:
            row, expected, found = map(int, fields.groups())
            if self._keys.csv.header:  # pyarrow counts the header as row 1
                return f"row {row - 1} has {found} fields, but the header has {expected}"
            return f"row {row} has {found} fields, but the first row has {expected}"
        if "straddl" in message or "Empty CSV" in message:  # no row ends in the first block
            return (
                f"a row is longer than {self._keys.csv.largest_row_mib} MiB, or a field has "
                "no closing quote; correct the file, or increase 'csv: {largest_row_mib: …}' in "
                "its defs.yaml"
            )
        if "invalid UTF8" in message:
            return self._encoding_message(message)
        return message

    def _encoding_message(self, message: str) -> str:
        return (
            f"the file is not encoded in {self._keys.csv.encoding} ({message}); set the encoding "
            "with 'csv: {encoding: …}' in its defs.yaml"
        )


class _WideEncodingError(Exception):
    """A file that should be in UTF-8 is in another `encoding`."""

    def __init__(self, encoding: str) -> None:
        super().__init__(encoding)
        self.encoding = encoding


class _Utf8:
    """A readable file that converts its content to UTF-8 and keeps the last two chunks.

    `start` is the first chunk; set it to nothing once it is no longer needed.
    Each row of the text ends with a line break, without which pyarrow does not find the only row of
    a file. Blank lines at the start can be skipped, because pyarrow needs a row in the first block.
    """

    closed = False

    def __init__(self, stream: pa.NativeFile, encoding: str, skips_blank_lines: bool) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)() if encoding != "utf-8" else None
        self._skips_blank_lines = skips_blank_lines
        self._next: bytes | None = None
        self.start = self._last = self._before = b""

    @property
    def is_empty(self) -> bool:
        """Whether no text was found by the first `read`."""
        return not self._last

    def read(self, size: int) -> bytes:
        is_first = self._next is None
        data = self._read_start(size) if self._next is None else self._next
        self._next = self._decode(size)
        if data:
            if not self._next and not data.endswith((b"\n", b"\r")):
                data += b"\n"
            self.start = data if is_first else self.start
            self._before, self._last = self._last, data
        return data

    def ends_with(self, text: str) -> bool:
        return (self._before + self._last).endswith(text.encode())

    def equals(self, text: str) -> bool:
        return self._before + self._last == text.encode()

    def close(self) -> None:
        """Do nothing: the caller closes the stream."""

    def _read_start(self, size: int) -> bytes:
        """Return the first chunk, of at least `size` bytes if the text is that long.

        Raises _WideEncodingError.
        """
        data = self._decode(size).removeprefix(codecs.BOM_UTF8)
        encoding = wide_encoding(data)
        if encoding is not None:
            raise _WideEncodingError(encoding)
        data = self._skip_blank_lines(data)
        while len(data) < size and (more := self._decode(size)):
            data = self._skip_blank_lines(data + more)
        return data

    def _skip_blank_lines(self, start: bytes) -> bytes:
        return start.lstrip(b"\r\n") if self._skips_blank_lines else start

    def _decode(self, size: int) -> bytes:
        """Return the next `size` bytes of the file in UTF-8; nothing at its end."""
        data: bytes = self._stream.read(size)
        while self._decoder is not None:
            at_end = not data
            data = self._decoder.decode(data, final=at_end).encode()
            if data or at_end:
                break
            data = self._stream.read(size)  # only part of a character was read
        return data
