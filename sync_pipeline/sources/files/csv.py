"""CSV files: every field as text, for PostgreSQL to read as the type that is declared."""

import codecs
import re
from collections.abc import Generator

import pyarrow as pa
import pyarrow.csv as pacsv

from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.files.columns import check_columns, in_order

_MAX_COLUMNS = 1_664  # PostgreSQL takes 1,600
_TEXTS = {f"f{number}": pa.string() for number in range(_MAX_COLUMNS)}
_FIELDS = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


class CsvFormat:
    """How a dataset's CSV files are read."""

    def __init__(self, keys: FilesSource, schema: pa.Schema) -> None:
        self._keys = keys
        self._schema = schema

    def rows(self, stream: pa.NativeFile, where: str) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file, in batches of the dataset's columns. Raises SourceError, which
        begins with `where`, and OSError."""
        text = _Utf8(stream, self._keys.csv.encoding)
        try:
            yield from self._batches(text, where)
        except UnicodeError as error:
            raise SourceError(f"{where}: {self._not_encoded(str(error))}") from error
        except pa.ArrowInvalid as error:
            raise SourceError(f"{where}: {self._reason(str(error))}") from error

    def _batches(self, text: "_Utf8", where: str) -> Generator[pa.RecordBatch, None, None]:
        names: list[str] | None = None if self._keys.csv.header else self._schema.names
        last: pa.RecordBatch | None = None
        for batch in self._open(text):
            rows = batch
            if last is None:
                if names is None:
                    names = [str(column[0]) for column in batch]
                    rows = batch.slice(1)
                self._check(names, batch.num_columns, where)
            last = batch
            yield in_order(rows.rename_columns(names), self._schema)
        if last is None and self._keys.csv.header:
            raise SourceError(f"{where} is empty, without even the header that names the columns")
        if last is not None and self._is_open(last, text):
            raise SourceError(f"{where}: the quote of its last field is not closed; is it whole?")

    def _open(self, text: "_Utf8") -> pacsv.CSVStreamingReader | tuple[()]:
        csv, one_column = self._keys.csv, len(self._schema) == 1
        try:
            return pacsv.open_csv(
                pa.PythonFile(text, "r"),
                # The header is the first of the rows, so that its names are known before any type.
                # Rows have numbers, in errors, as long as no threads read them.
                pacsv.ReadOptions(
                    use_threads=False,
                    block_size=csv.largest_row_mib * 1024 * 1024,
                    autogenerate_column_names=True,
                ),
                pacsv.ParseOptions(
                    delimiter=self._keys.delimiter,
                    quote_char=csv.quote or False,
                    newlines_in_values=bool(csv.quote),
                    ignore_empty_lines=not one_column,  # such a line is a row of one empty field
                ),
                pacsv.ConvertOptions(
                    column_types=_TEXTS,
                    null_values=csv.null_values,
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return ()
            raise

    def _check(self, names: list[str], fields: int, where: str) -> None:
        if len(names) != fields:
            raise SourceError(
                f"{where}: its first row has {fields} fields, but 'columns' declares {len(names)}"
            )
        check_columns(names, self._schema.names, self._keys, where)

    def _is_open(self, last: pa.RecordBatch, text: "_Utf8") -> bool:
        """Return whether the file ends within a quoted field, which pyarrow takes as its end."""
        quote, value = self._keys.csv.quote, last.column(last.num_columns - 1)[-1].as_py()
        if not quote or value is None:
            return False
        field = quote + value.replace(quote, quote * 2)
        before = ("\n", "\r") if last.num_columns == 1 else (self._keys.delimiter,)
        return text.is_just(field) or any(text.ends_with(sign + field) for sign in before)

    def _reason(self, said: str) -> str:
        fields = _FIELDS.search(said)
        if fields:
            row, expected, found = map(int, fields.groups())
            if self._keys.csv.header:  # which is the first to pyarrow
                return f"row {row - 1} below the header has {found} fields, not {expected} as it"
            return f"row {row} has {found} fields, not {expected} as the first"
        if "straddl" in said:
            return (
                f"a row is longer than {self._keys.csv.largest_row_mib} MiB, or the quote of a "
                "field is not closed; mend the file, or set 'csv: {largest_row_mib: …}' higher in "
                "its defs.yaml"
            )
        if "invalid UTF8" in said:
            return self._not_encoded(said)
        return said

    def _not_encoded(self, said: str) -> str:
        return (
            f"it is not written in {self._keys.csv.encoding} ({said}); set its encoding with "
            "'csv: {encoding: …}' in its defs.yaml"
        )


class _Utf8:
    """A file to read from, in UTF-8 whatever its encoding; it remembers how it ended."""

    closed = False

    def __init__(self, stream: pa.NativeFile, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)() if encoding != "utf-8" else None
        self._last = self._before = b""

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        while self._decoder is not None:
            whole = not data
            data = self._decoder.decode(data, final=whole).encode()
            if data or whole:
                break
            data = self._stream.read(size)  # half a character
        if data:
            self._before, self._last = self._last, data
        return data

    def ends_with(self, text: str) -> bool:
        return (self._before + self._last).endswith(text.encode())

    def is_just(self, text: str) -> bool:
        return self._before + self._last == text.encode()

    def close(self) -> None:
        """The stream is closed by who opened it."""
