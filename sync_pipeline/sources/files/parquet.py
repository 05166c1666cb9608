"""Parquet files: a filter on the day is answered from their statistics, where it can be."""

from collections.abc import Generator
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayType, day_bounds
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.sources.arrow.declared import declared_text
from sync_pipeline.sources.arrow.source import ROWS_AT_ONCE
from sync_pipeline.sources.arrow.types import column_type
from sync_pipeline.sources.files.columns import check_columns, in_order

# What the deprecated INT96 holds would overflow nanoseconds, pyarrow's default for it.
_INT96_UNIT = "us"
_BUFFER_BYTES = 1024 * 1024
_Range = tuple[pa.Scalar, pa.Scalar]


def open_parquet(path: str, system: fs.FileSystem) -> pq.ParquetFile:
    """Return the file, to be closed by the caller. Raises pyarrow's errors and OSError."""
    # Read batch by batch: pyarrow.dataset holds row groups, which may be of any size.
    return pq.ParquetFile(
        path,
        filesystem=system,
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        coerce_int96_timestamp_unit=_INT96_UNIT,
    )


def schema_of(path: str, system: fs.FileSystem) -> pa.Schema:
    """Return the columns of a file. Raises pyarrow's errors and OSError."""
    with open_parquet(path, system) as file:
        return pa.schema([pa.field(field.name, field.type) for field in file.schema_arrow])


class ParquetFormat:
    """How a dataset's Parquet files are read: with the types of `schema`, or as text where its
    columns are declared. `rows_said` is how many rows the files have that were read, as they
    themselves say."""

    def __init__(self, dataset: Dataset, keys: FilesSource, schema: pa.Schema) -> None:
        self._dataset = dataset
        self._keys = keys
        self._schema = schema
        self.rows_said = 0

    def rows(
        self, path: str, system: fs.FileSystem, day: date, where: str
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file, of a path without a day those of `day` if its column has the
        type of the dataset's. Raises SourceError, which begins with `where`, pyarrow's errors and
        OSError."""
        with open_parquet(path, system) as file:
            self.rows_said += file.metadata.num_rows
            found = file.schema_arrow
            check_columns(found.names, self._schema.names, self._keys, where)
            wanted = [name for name in self._schema.names if name in found.names]
            bounds = None if self._keys.pattern.is_daily else self._bounds(day, found)
            for batch in file.iter_batches(
                ROWS_AT_ONCE,
                row_groups=_groups(path, system, self._keys.day_column, bounds),
                columns=wanted if len(wanted) < len(found) else None,
                use_threads=False,
            ):
                yield in_order(self._of_day(batch, bounds, where), self._schema)

    def _of_day(self, batch: pa.RecordBatch, bounds: _Range | None, where: str) -> pa.RecordBatch:
        rows = batch
        if bounds is not None:
            values = batch.column(self._keys.day_column)
            at_least = pc.greater_equal(values, bounds[0])
            rows = batch.filter(pc.and_(at_least, pc.less(values, bounds[1])))
        declared = self._keys.columns
        if not declared:
            return rows
        names = rows.schema.names
        texts = [declared_text(rows.column(name), name, declared[name], where) for name in names]
        return pa.record_batch(texts, names=names)

    def _bounds(self, day: date, found: pa.Schema) -> _Range | None:
        """Return the range [lower, upper) of the file's values that are of `day`; None where their
        type does not say it."""
        name = self._keys.day_column
        if name not in found.names:
            return None
        kind = found.field(name).type
        becomes = column_type(kind)
        declared = (self._keys.columns or {}).get(name, becomes.postgres)
        if declared != becomes.postgres or declared not in [d.value for d in DayType]:
            return None
        bounds = day_bounds(day, DayType(declared), self._dataset.zone)
        try:
            return (
                pa.scalar(bounds.lower, becomes.arrow).cast(kind),
                pa.scalar(bounds.upper, becomes.arrow).cast(kind),
            )
        except pa.ArrowInvalid:  # nanoseconds do not reach that day: no value is of it
            nowhere = pa.scalar(0, pa.int64()).cast(kind)
            return nowhere, nowhere


def _groups(
    path: str, system: fs.FileSystem, column: str, bounds: _Range | None
) -> list[int] | None:
    """Return which row groups may hold a value within `bounds`, as their statistics say; None for
    all of them."""
    if bounds is None:
        return None
    within = (pc.field(column) >= bounds[0]) & (pc.field(column) < bounds[1])
    file = pads.ParquetFileFormat(coerce_int96_timestamp_unit=_INT96_UNIT)
    return [group.id for group in file.make_fragment(path, system).subset(within).row_groups]
