"""Read Parquet files, and use their statistics to skip row groups without rows for the day.

Does not find the files of a day: see `finder.py`.
"""

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
from sync_pipeline.sources.arrow.declared import column_to_text
from sync_pipeline.sources.arrow.source import MAX_BATCH_ROWS
from sync_pipeline.sources.arrow.types import column_type
from sync_pipeline.sources.files.columns import align_columns, check_columns

# Read the deprecated INT96 timestamps as microseconds: nanoseconds, the default, may overflow.
_INT96_UNIT = "us"
_BUFFER_BYTES = 1024 * 1024
_Range = tuple[pa.Scalar, pa.Scalar]


def open_parquet(path: str, system: fs.FileSystem) -> pq.ParquetFile:
    """Open the file; the caller must close it. Raises pyarrow errors and OSError."""
    # ParquetFile reads batch by batch; pyarrow.dataset keeps whole row groups in memory.
    return pq.ParquetFile(
        path,
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
        self.row_count = 0

    def rows(
        self, path: str, system: fs.FileSystem, day: date, where: str
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file, or only those of `day` if the path does not contain the day and
        the day column has the dataset's type.

        Raises pyarrow errors, OSError, or SourceError with a message that starts with `where`.
        """
        with open_parquet(path, system) as file:
            self.row_count += file.metadata.num_rows
            found = file.schema_arrow
            check_columns(found.names, self._schema.names, self._keys, where)
            wanted = [name for name in self._schema.names if name in found.names]
            bounds = None if self._keys.pattern.is_daily else self._bounds(day, found)
            for batch in file.iter_batches(
                MAX_BATCH_ROWS,
                row_groups=_matching_row_groups(path, system, self._keys.day_column, bounds),
                columns=wanted if len(wanted) < len(found) else None,
                use_threads=False,
            ):
                yield align_columns(self._select_day(batch, bounds, where), self._schema)

    def _select_day(
        self, batch: pa.RecordBatch, bounds: _Range | None, where: str
    ) -> pa.RecordBatch:
        rows = batch
        if bounds is not None:
            values = batch.column(self._keys.day_column)
            at_least = pc.greater_equal(values, bounds[0])
            rows = batch.filter(pc.and_(at_least, pc.less(values, bounds[1])))
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


def _matching_row_groups(
    path: str, system: fs.FileSystem, column: str, bounds: _Range | None
) -> list[int] | None:
    """Return the IDs of the row groups that may have a value within `bounds`; None means all."""
    if bounds is None:
        return None
    within = (pc.field(column) >= bounds[0]) & (pc.field(column) < bounds[1])
    file = pads.ParquetFileFormat(coerce_int96_timestamp_unit=_INT96_UNIT)
    return [group.id for group in file.make_fragment(path, system).subset(within).row_groups]
