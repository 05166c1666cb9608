"""Read Parquet files, and use their statistics to skip row groups without rows for the day.

A row group that several days need is split by day: see `shared.py`. Does not find the files
of a day: see `finder.py`.
"""

from collections.abc import Generator, Iterator
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayType, day_bounds
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.sources.arrow.declared import column_to_text
from sync_pipeline.sources.arrow.source import MAX_BATCH_ROWS
from sync_pipeline.sources.arrow.types import column_type
from sync_pipeline.sources.files.columns import align_columns, check_columns
from sync_pipeline.sources.files.days import TextDays
from sync_pipeline.sources.files.finder import File
from sync_pipeline.sources.files.shared import DayRead
from sync_pipeline.sources.files.split import can_split, day_numbers

# Read the deprecated INT96 timestamps as microseconds: nanoseconds, the default, may overflow.
_INT96_UNIT = "us"
_BUFFER_BYTES = 1024 * 1024
_MAX_FRAGMENTS = 16
_Range = tuple[pa.Scalar, pa.Scalar]


def open_parquet(
    path: str, system: fs.FileSystem, metadata: pq.FileMetaData | None = None
) -> pq.ParquetFile:
    """Open the file, whose metadata may already be known; the caller must close it.

    Raises pyarrow errors and OSError.
    """
    # ParquetFile reads batch by batch; pyarrow.dataset keeps whole row groups in memory.
    return pq.ParquetFile(
        path,
        metadata=metadata,
        filesystem=system,
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        coerce_int96_timestamp_unit=_INT96_UNIT,
    )


def read_schema(path: str, system: fs.FileSystem) -> pa.Schema:
    """Return the names and types of a file's columns. Raises pyarrow errors and OSError."""
    with open_parquet(path, system) as file:
        return pa.schema([pa.field(field.name, field.type) for field in file.schema_arrow])


class ParquetFormat:
    """Reads a dataset's Parquet files with the types in `schema`, or as text if the dataset
    declares its columns.

    `row_count` is the total number of rows in the files read, according to their metadata.
    """

    def __init__(self, dataset: Dataset, keys: FilesSource, schema: pa.Schema) -> None:
        self._dataset = dataset
        self._keys = keys
        self._schema = schema
        self._fragments: dict[File, pads.ParquetFileFragment] = {}
        self.row_count = 0

    def rows(
        self, system: fs.FileSystem, read: DayRead, days: TextDays
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file. If the path does not contain the day, rows of other days may be
        left out; they are left out if the day column has the dataset's type.

        Raises pyarrow errors, OSError, or SourceError.
        """
        where, is_daily = read.where, self._keys.pattern.is_daily
        fragment = None if is_daily else self._fragment(read.file, system)
        metadata = fragment and fragment.metadata
        with open_parquet(read.file.path, system, metadata) as file:
            self.row_count += file.metadata.num_rows
            found = file.schema_arrow
            check_columns(found.names, self._schema.names, self._keys, where)
            bounds = None if is_daily else self._bounds(read.day, found)
            if bounds is None or fragment is None:
                yield from self._untyped_rows(file, read, days)
                return
            names = self._wanted(found)
            types = pa.schema([found.field(name) for name in names or found.names])
            for group in _matching_row_groups(fragment, self._keys.day_column, bounds):
                batches = partial(_batches, file, names, [group])
                rows = read.rows(batches, self._numbers, group) if can_split(types) else batches()
                for batch in rows:
                    selected = self._select_day(batch, bounds)
                    yield align_columns(self._to_text(selected, where), self._schema)

    def _fragment(self, file: File, system: fs.FileSystem) -> pads.ParquetFileFragment:
        """Return a file of many days with its metadata, which is kept for the next day."""
        fragment = self._fragments.get(file)
        if fragment is None:
            kind = pads.ParquetFileFormat(coerce_int96_timestamp_unit=_INT96_UNIT)
            fragment = kind.make_fragment(file.path, system)
            fragment.ensure_complete_metadata()
            if len(self._fragments) >= _MAX_FRAGMENTS:
                self._fragments.pop(next(iter(self._fragments)))
            self._fragments[file] = fragment
        return fragment

    def _untyped_rows(
        self, file: pq.ParquetFile, read: DayRead, days: TextDays
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file whose day column, if any, does not have the dataset's type."""

        found = file.schema_arrow

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in _batches(file, self._wanted(found)):
                rows = align_columns(self._to_text(batch, read.where), self._schema)
                yield rows if self._has_typed_day(found) else days.to_iso(rows, read.where)

        return (
            read.rows(batches, partial(days.numbers, where=read.where))
            if days.has_type
            else batches()
        )

    def _has_typed_day(self, found: pa.Schema) -> bool:
        """Return whether the day column of a file is a date or a timestamp, not text or a number.

        `date_format` does not apply to such a column.
        """
        name = self._keys.day_column
        types = [kind.value for kind in DayType]
        return name in found.names and column_type(found.field(name).type).postgres in types

    def _wanted(self, found: pa.Schema) -> list[str] | None:
        """Return the names of the columns to read; None means all."""
        wanted = [name for name in self._schema.names if name in found.names]
        return wanted if len(wanted) < len(found) else None

    def _numbers(self, batch: pa.RecordBatch) -> pa.Array:
        values = batch.column(self._keys.day_column)
        day_type = DayType(column_type(values.type).postgres)
        return day_numbers(values, day_type, self._dataset.zone)

    def _select_day(self, batch: pa.RecordBatch, bounds: _Range) -> pa.RecordBatch:
        values = batch.column(self._keys.day_column)
        at_least = pc.greater_equal(values, bounds[0])
        return batch.filter(pc.and_(at_least, pc.less(values, bounds[1])))

    def _to_text(self, rows: pa.RecordBatch, where: str) -> pa.RecordBatch:
        """Return the rows as text if the dataset declares its columns, else unchanged."""
        declared = self._keys.columns
        if not declared:
            return rows
        names = rows.schema.names
        texts = [column_to_text(rows.column(name), name, declared[name], where) for name in names]
        return pa.record_batch(texts, names=names)

    def _bounds(self, day: date, found: pa.Schema) -> _Range | None:
        """Return the range [lower, upper) of the day column's values for `day`, or None if the
        column does not have the dataset's type."""
        name = self._keys.day_column
        if name not in found.names:
            return None
        kind = found.field(name).type
        column = column_type(kind)
        declared = (self._keys.columns or {}).get(name, column.postgres)
        if declared != column.postgres or declared not in [d.value for d in DayType]:
            return None
        bounds = day_bounds(day, DayType(declared), self._dataset.zone)
        try:
            return (
                pa.scalar(bounds.lower, column.arrow).cast(kind),
                pa.scalar(bounds.upper, column.arrow).cast(kind),
            )
        except pa.ArrowInvalid:  # nanoseconds cannot represent that day, so no row has it
            empty = pa.scalar(0, pa.int64()).cast(kind)
            return empty, empty


def _batches(
    file: pq.ParquetFile, names: list[str] | None, row_groups: list[int] | None = None
) -> Iterator[pa.RecordBatch]:
    batches: Iterator[pa.RecordBatch] = file.iter_batches(
        MAX_BATCH_ROWS, row_groups=row_groups, columns=names, use_threads=False
    )
    return batches


def _matching_row_groups(
    fragment: pads.ParquetFileFragment, column: str, bounds: _Range
) -> list[int]:
    """Return the IDs of the row groups that may have a value within `bounds`."""
    within = (pc.field(column) >= bounds[0]) & (pc.field(column) < bounds[1])
    return [group.id for group in fragment.subset(within).row_groups]
