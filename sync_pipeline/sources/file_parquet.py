"""Parquet files: a filter on the day is answered from their statistics, where it can be."""

from collections.abc import Generator
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyarrow import fs

from sync_pipeline.dataset import Dataset
from sync_pipeline.day_bounds import DayType, day_bounds
from sync_pipeline.sources.arrow import ROWS_AT_ONCE
from sync_pipeline.sources.arrow_copy import as_text
from sync_pipeline.sources.arrow_types import column_type, travelling
from sync_pipeline.sources.file_columns import check_columns, in_order
from sync_pipeline.sources.keys import FilesSource

# The days of the deprecated type INT96 would overflow nanoseconds, pyarrow's default.
_FORMAT = pads.ParquetFileFormat(
    coerce_int96_timestamp_unit="us",
    default_fragment_scan_options=pads.ParquetFragmentScanOptions(
        use_buffered_stream=True, buffer_size=1024 * 1024, pre_buffer=False
    ),
)


def schema_of(path: str, system: fs.FileSystem) -> pa.Schema:
    """Return the columns of a file. Raises pyarrow's errors and OSError."""
    return _without_metadata(_FORMAT.make_fragment(path, system).physical_schema)


class ParquetFormat:
    """How a dataset's Parquet files are read: with the types of `schema`, or as text where its
    columns are declared."""

    def __init__(self, dataset: Dataset, keys: FilesSource, schema: pa.Schema) -> None:
        self._dataset = dataset
        self._keys = keys
        self._schema = schema

    def rows(
        self, path: str, system: fs.FileSystem, day: date, where: str
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a file, of a path without a day those of `day` if its column has the
        type of the dataset's. Raises SourceError, which begins with `where`, pyarrow's errors and
        OSError."""
        fragment = _FORMAT.make_fragment(path, system)
        found = fragment.physical_schema
        check_columns(found.names, self._schema.names, self._keys, where)
        scanner = fragment.scanner(
            columns=[name for name in self._schema.names if name in found.names],
            filter=None if self._keys.pattern.is_daily else self._filter(day, found),
            batch_size=ROWS_AT_ONCE,
            batch_readahead=2,
            fragment_readahead=1,
        )
        for batch in scanner.to_batches():
            yield in_order(self._declared(batch) if self._keys.columns else batch, self._schema)

    def count(self, path: str, system: fs.FileSystem) -> int:
        """Return how many rows the file says it has."""
        return int(_FORMAT.make_fragment(path, system).metadata.num_rows)

    def _declared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = [as_text(travelling(column, column_type(column.type))) for column in batch]
        return pa.record_batch(texts, names=batch.schema.names)

    def _filter(self, day: date, found: pa.Schema) -> pc.Expression | None:
        """Return what selects the rows of `day`; None where that is not for the file to do."""
        name = self._keys.day_column
        if name not in found.names:
            return None
        kind = found.field(name).type
        becomes = column_type(kind).postgres
        declared = (self._keys.columns or {}).get(name, becomes)
        if declared != becomes or becomes not in [day_type.value for day_type in DayType]:
            return None
        bounds = day_bounds(day, DayType(becomes), self._dataset.zone)
        try:
            lower, upper = (
                pa.scalar(bound, column_type(kind).arrow).cast(kind)
                for bound in (bounds.lower, bounds.upper)
            )
        except pa.ArrowInvalid:
            return pc.scalar(False)  # nanoseconds do not reach that day
        return (pc.field(name) >= lower) & (pc.field(name) < upper)


def _without_metadata(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(field.name, field.type) for field in schema])
