"""The `files` source: reads a day's CSV, JSON Lines or Parquet files, one after another.

Does not find files (see `finder.py`), does not parse them (see `csv.py`, `jsonl.py` and
`parquet.py`) and does not split files of many days (see `shared.py`).
"""

from collections.abc import Generator, Iterator, Mapping
from datetime import date
from functools import partial

import pyarrow as pa

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import NotReadyError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources.arrow.declared import text_schema
from sync_pipeline.sources.files.csv import CsvFormat
from sync_pipeline.sources.files.days import TextDays
from sync_pipeline.sources.files.finder import File, FileFinder
from sync_pipeline.sources.files.jsonl import JsonLinesFormat
from sync_pipeline.sources.files.parquet import ParquetFormat, read_schema
from sync_pipeline.sources.files.shared import DayRead, SharedSplits
from sync_pipeline.sources.files.store import FileStore


class FileRows:
    """An `ArrowRows` that reads the files of each day."""

    def __init__(self, dataset: Dataset, keys: FilesSource, settings: Settings) -> None:
        self._dataset = dataset
        self._keys = keys
        self._store = FileStore(dataset, keys, settings)
        self._finder = FileFinder(dataset, keys, self._store)
        self._days = TextDays(dataset, keys)
        self._splits: SharedSplits | None = None
        self._cancelled = False
        self.declared: Mapping[str, str] = keys.columns or {}
        self.schema = text_schema(keys.columns) if keys.columns else self._read_newest_schema()
        self._parquet = ParquetFormat(dataset, keys, self.schema)
        self._lines = (
            CsvFormat(keys, self.schema)
            if keys.file_format == "csv"
            else JsonLinesFormat(keys, self.declared, self.schema)
        )

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day`. Raises NotReadyError, or SourceError, which names the file."""
        self._cancelled = False
        self._parquet.row_count = 0
        files = self._finder.find(day)
        for file in files:
            read = self._day_read(file, day)
            with self._store.translate_errors(f"{read.where}: cannot read the file"):
                for batch in self._batches(read):
                    read.check_cancelled()
                    yield self._days.select(day, batch, read.where)
        self._finder.check_unchanged(files, day)

    def source_count(self) -> int | None:
        has_count = self._keys.file_format == "parquet" and self._keys.pattern.is_daily
        return self._parquet.row_count if has_count else None

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        """Delete the temporary file with the rows of split files, if no other source uses it."""
        splits, self._splits = self._splits, None
        if splits is not None:
            splits.close()

    def _day_read(self, file: File, day: date) -> DayRead:
        where = f"dataset {self._dataset.name}: {self._store.display_path(file.path)} for {day}"

        def check_cancelled() -> None:
            if self._cancelled:
                raise SourceError(f"{where}: reading was cancelled")

        if self._splits is None and not self._keys.pattern.is_daily:
            name, zone = self._dataset.name, self._dataset.timezone
            self._splits = SharedSplits.open(
                (name, self._keys.model_dump_json(), zone, self.schema)
            )
        check_unchanged = partial(self._finder.check_unchanged, [file], day)
        return DayRead(file, day, where, self._splits, check_cancelled, check_unchanged)

    def _batches(self, read: DayRead) -> Iterator[pa.RecordBatch]:
        if self._keys.file_format == "parquet":
            return self._parquet.rows(self._store.system, read, self._days)
        lines = partial(self._read_lines, read)
        return read.rows(lines, partial(self._days.numbers, where=read.where))

    def _read_lines(self, read: DayRead) -> Iterator[pa.RecordBatch]:
        file, compression = read.file, self._keys.compression_of(read.file.name)
        with self._store.open(file.path, None if compression == "none" else compression) as stream:
            for batch in self._lines.rows(stream, read.where):
                yield self._days.to_iso(batch, read.where)

    def _read_newest_schema(self) -> pa.Schema:
        newest = self._finder.newest()
        name, keys = self._dataset.name, self._keys
        if newest is None:
            raise NotReadyError(
                f"dataset {name}: no file found in {keys.path} to read the columns from; sync the "
                "day again when a file exists, or declare 'columns' in its defs.yaml"
            )
        path = self._store.display_path(newest.path)
        with self._store.translate_errors(f"dataset {name}: cannot read the columns of {path}"):
            schema = read_schema(newest.path, self._store.system)
        if not keys.pattern.is_daily and keys.day_column not in schema.names:
            raise SourceError(
                f"dataset {name}: {path} has no day_column {keys.day_column!r}, and the path does "
                "not contain the day; correct 'day_column', or add the day to the path: "
                "{day:%Y-%m-%d}"
            )
        return schema
