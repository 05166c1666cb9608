"""A source that is files: CSV, JSON Lines or Parquet, on disk, in S3 or Google Cloud Storage."""

from collections.abc import Generator, Mapping
from datetime import date

import pyarrow as pa

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import NotReadyError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources.arrow.declared import schema_of
from sync_pipeline.sources.files.csv import CsvFormat
from sync_pipeline.sources.files.days import TextDays
from sync_pipeline.sources.files.finder import File, FileFinder
from sync_pipeline.sources.files.jsonl import JsonLinesFormat
from sync_pipeline.sources.files.parquet import ParquetFormat
from sync_pipeline.sources.files.parquet import schema_of as parquet_schema_of
from sync_pipeline.sources.files.store import FileStore


class FileRows:
    """`ArrowRows` of a day's files, one after the other."""

    def __init__(self, dataset: Dataset, keys: FilesSource, settings: Settings) -> None:
        self._dataset = dataset
        self._keys = keys
        self._store = FileStore(dataset, keys, settings)
        self._finder = FileFinder(dataset, keys, self._store)
        self._days = TextDays(dataset, keys)
        self._cancelled = False
        self.declared: Mapping[str, str] = keys.columns or {}
        self.schema = schema_of(keys.columns) if keys.columns else self._schema_of_newest()
        self._parquet = ParquetFormat(dataset, keys, self.schema)
        self._lines = (
            CsvFormat(keys, self.schema)
            if keys.file_format == "csv"
            else JsonLinesFormat(keys, self.declared, self.schema)
        )

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day`. Raises NotReadyError, and SourceError that names the file."""
        self._cancelled = False
        self._parquet.rows_said = 0
        files = self._finder.of_day(day)
        for file in files:
            where = self._where(file, day)
            with self._store.errors(f"{where}: it cannot be read"):
                for batch in self._batches(file, day, where):
                    if self._cancelled:
                        raise SourceError(f"{where}: reading it was broken off")
                    yield self._days.of(day, batch, where)
        self._finder.refuse_changed(files, day)

    def counted(self) -> int | None:
        knows = self._keys.file_format == "parquet" and self._keys.pattern.is_daily
        return self._parquet.rows_said if knows else None

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        """Nothing is held between two days."""

    def _batches(self, file: File, day: date, where: str) -> Generator[pa.RecordBatch, None, None]:
        if self._keys.file_format == "parquet":
            yield from self._parquet.rows(file.path, self._store.system, day, where)
            return
        compression = self._keys.compression_of(file.name)
        with self._store.open(file.path, None if compression == "none" else compression) as stream:
            yield from self._lines.rows(stream, where)

    def _schema_of_newest(self) -> pa.Schema:
        newest = self._finder.newest()
        name, keys = self._dataset.name, self._keys
        if newest is None:
            raise NotReadyError(
                f"dataset {name}: there is no file yet in {keys.path} to take the columns from; "
                "sync it again when there is, or declare 'columns' in its defs.yaml"
            )
        path = self._store.shown(newest.path)
        with self._store.errors(f"dataset {name}: cannot take the columns from {path}"):
            schema = parquet_schema_of(newest.path, self._store.system)
        if not keys.pattern.is_daily and keys.day_column not in schema.names:
            raise SourceError(
                f"dataset {name}: {path} has no day_column {keys.day_column!r}, and the path is "
                "not another for each day; name its column, or the day in the path: "
                "{day:%Y-%m-%d}"
            )
        return schema

    def _where(self, file: File, day: date) -> str:
        return f"dataset {self._dataset.name}: {self._store.shown(file.path)} for {day}"
