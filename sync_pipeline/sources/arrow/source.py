"""`ArrowRows`, the protocol of sources that read Arrow record batches, and `ArrowReader`, which
turns an `ArrowRows` into a `Source`.

Does not read any rows: see `python.py`, `files/`, `sql/` and `rest/`.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from datetime import date
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import day_bounds
from sync_pipeline.errors import CountMismatchError, SourceError, one_line
from sync_pipeline.sources.arrow.copy import make_encoder
from sync_pipeline.sources.arrow.types import (
    DAY_FORMATS,
    DAY_TYPES,
    column_type,
    convert_for_copy,
    first_invalid,
    translate_conversion_errors,
)
from sync_pipeline.sources.base import ByteSink, Column, CopyFormat, DayType, Shape

MAX_BATCH_ROWS = 16_384
"""The maximum number of rows in an encoded batch."""

MAX_NAME_BYTES = 63


class ArrowRows(Protocol):
    """A source of record batches. Only `cancel` may be called from another thread."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, as read when the source was opened."""
        ...

    @property
    def declared(self) -> Mapping[str, str]:
        """The PostgreSQL types of the columns that are delivered as text, by column name."""
        ...

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day` in batches whose columns can be cast to those of `schema`.

        Raises SourceError or NotReadyError.
        """
        ...

    def source_count(self) -> int | None:
        """Return the number of rows that the source reported for the last day read, or None if it
        reports no count."""
        ...

    def cancel(self) -> None:
        """Stop a `read` in progress in another thread as soon as possible."""
        ...

    def close(self) -> None:
        """Release the source's resources. Idempotent."""
        ...


class ArrowReader:
    """A `Source` that reads from an `ArrowRows`. Adds the day column if the rows lack it."""

    def __init__(self, dataset: Dataset, rows: ArrowRows) -> None:
        self._dataset = dataset
        self._rows = rows
        self._cancelled = False
        schema, day_column = rows.schema, dataset.source.day_column
        self._adds_day = day_column not in schema.names
        if self._adds_day:
            schema = schema.append(pa.field(day_column, pa.date32()))
        self._types = {field.name: column_type(field.type) for field in schema}
        self._schema = pa.schema([(name, kind.arrow) for name, kind in self._types.items()])
        self._check_names(schema)
        self.shape = Shape(
            tuple(self._column(name) for name in schema.names),
            day_column,
            self._day_type(),
            binary=not rows.declared and all(kind.binary for kind in self._types.values()),
        )

    def read_day(self, day: date, out: ByteSink, copy_format: CopyFormat) -> int:
        """Write the rows of `day` to `out` in `copy_format` and return the number of rows."""
        self._cancelled = False
        found = 0
        try:
            encode = make_encoder(self._schema, copy_format)
            out.write(encode.begin())
            with closing(self._rows.read(day)) as batches:
                for batch in batches:
                    for part in self._slices(batch, day):
                        out.write(encode.rows(part))
                        found += part.num_rows
            out.write(encode.end())
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {day} from "
                f"{self._dataset.source.origin}: {one_line(error)}"
            ) from error
        reported = self._rows.source_count()
        if reported is not None and reported != found:
            raise CountMismatchError(
                f"dataset {self._dataset.name}: {self._dataset.source.origin} reports "
                f"{reported} rows for {day}, but delivered {found}; nothing was changed. Retry "
                "when the day is complete"
            )
        return found

    def cancel(self) -> None:
        """Cancel a read in progress in another thread. Does nothing if there is none."""
        self._cancelled = True
        self._rows.cancel()

    def close(self) -> None:
        """Release the resources of the `ArrowRows`. Idempotent."""
        self._rows.close()

    def _slices(self, batch: pa.RecordBatch, day: date) -> Iterator[pa.RecordBatch]:
        """Yield slices of a batch, each converted for COPY and checked."""
        for start in range(0, batch.num_rows, MAX_BATCH_ROWS):
            if self._cancelled:
                raise SourceError(f"dataset {self._dataset.name}: reading {day} was cancelled")
            part = self._convert(batch.slice(start, MAX_BATCH_ROWS), day)
            self._check_day(part, day)
            yield part

    def _convert(self, batch: pa.RecordBatch, day: date) -> pa.RecordBatch:
        where = f"dataset {self._dataset.name}: {self._dataset.source.origin} for {day}"
        columns = []
        for name, kind in self._types.items():
            if name in batch.schema.names:
                values = batch.column(name)
                with translate_conversion_errors(name, values.type, where):
                    columns.append(convert_for_copy(values, kind))
            elif self._adds_day and name == self.shape.day_column:
                columns.append(pa.repeat(pa.scalar(day, pa.date32()), batch.num_rows))
            else:
                raise SourceError(
                    f"dataset {self._dataset.name}: the rows for {day} from "
                    f"{self._dataset.source.origin} have no column {name!r}, which existed when "
                    "the source was opened"
                )
        return pa.record_batch(columns, schema=self._schema)

    def _check_day(self, part: pa.RecordBatch, day: date) -> None:
        """Raise SourceError if a row does not belong to `day`, as a resync would not replace it."""
        if self._adds_day:
            return
        column = self._day_values(part, day)
        bounds = day_bounds(day, self.shape.day_type, self._dataset.zone)
        found = pc.min_max(column)
        lowest, highest = found["min"], found["max"]
        for value in (lowest, highest):
            if value.is_valid and not bounds.lower <= value.as_py() < bounds.upper:
                raise SourceError(
                    f"dataset {self._dataset.name}: {self._dataset.source.origin} delivered a row "
                    f"for {day} whose day_column {self.shape.day_column!r} is {value}"
                )
        if column.null_count:
            raise SourceError(
                f"dataset {self._dataset.name}: {self._dataset.source.origin} delivered a row for "
                f"{day} whose day_column {self.shape.day_column!r} is empty"
            )

    def _day_values(self, part: pa.RecordBatch, day: date) -> pa.Array:
        """Return the day column; parse it if it is declared and therefore delivered as text."""
        name, day_type = self.shape.day_column, self.shape.day_type
        column = part.column(name)
        if name not in self._rows.declared:
            return column
        try:
            return pc.cast(column, DAY_TYPES[day_type])
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"dataset {self._dataset.name}: {self._dataset.source.origin} delivered a row for "
                f"{day} whose day_column {name!r} is {first_invalid(column, day_type)}; it must be "
                f"a {day_type.value} written as {DAY_FORMATS[day_type]}"
            ) from error

    def _column(self, name: str) -> Column:
        return Column(name, self._rows.declared.get(name, self._types[name].postgres))

    def _check_names(self, schema: pa.Schema) -> None:
        where = f"dataset {self._dataset.name}: {self._dataset.source.origin}"
        for name in schema.names:
            if schema.names.count(name) > 1:
                raise SourceError(f"{where} has two columns named {name!r}; rename one")
            if not name or len(name.encode()) > MAX_NAME_BYTES:
                raise SourceError(
                    f"{where} has a column named {name!r}; rename it: PostgreSQL accepts names of "
                    f"1 to {MAX_NAME_BYTES} bytes"
                )

    def _day_type(self) -> DayType:
        column = self._column(self._dataset.source.day_column)
        try:
            return DayType(column.type)
        except ValueError:
            raise SourceError(
                f"dataset {self._dataset.name}: day_column {column.name!r} of "
                f"{self._dataset.source.origin} is of type {column.type}; choose a column of type "
                "date, timestamp or timestamptz"
            ) from None
