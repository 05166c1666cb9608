"""A `Source` of any source that has its rows as Arrow record batches."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from datetime import date
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import day_bounds
from sync_pipeline.errors import CountMismatchError, SourceError, one_line
from sync_pipeline.sources.arrow.copy import encoder
from sync_pipeline.sources.arrow.types import (
    DAY_TYPES,
    WRITTEN,
    column_type,
    first_unreadable,
    naming,
    travelling,
)
from sync_pipeline.sources.base import ByteSink, Column, CopyFormat, DayType, Shape

ROWS_AT_ONCE = 16_384
"""Rows that are encoded at once."""

MAX_NAME_BYTES = 63


class ArrowRows(Protocol):
    """A source of record batches. `read`, `counted` and `close` are called by one thread at a time;
    `cancel` by another."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, as found when it was opened."""
        ...

    @property
    def declared(self) -> Mapping[str, str]:
        """PostgreSQL's types of columns that are given as strings for it to parse."""
        ...

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day`, in batches of columns that can be cast to those of `schema`.

        Raises SourceError or NotReadyError.
        """
        ...

    def counted(self) -> int | None:
        """Return how many rows the source itself says the day had that was read last; None if it
        does not say."""
        ...

    def cancel(self) -> None:
        """Let a `read` that waits in another thread end soon, if that can be done."""
        ...

    def close(self) -> None:
        """Release what it holds. May be called twice."""
        ...


class ArrowReader:
    """The `Source` of some `ArrowRows`. If these have no column for the day, it adds one."""

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
        """Write the rows of `day` to `out` in that COPY format and return their count."""
        self._cancelled = False
        found = 0
        try:
            encode = encoder(self._schema, copy_format)
            out.write(encode.begin())
            with closing(self._rows.read(day)) as batches:
                for batch in batches:
                    for part in self._parts(batch, day):
                        out.write(encode.rows(part))
                        found += part.num_rows
            out.write(encode.end())
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {day} from "
                f"{self._dataset.source.origin}: {one_line(error)}"
            ) from error
        counted = self._rows.counted()
        if counted is not None and counted != found:
            raise CountMismatchError(
                f"dataset {self._dataset.name}: {self._dataset.source.origin} says that {day} has "
                f"{counted} rows, but gave {found}; nothing was changed. Try again when it is "
                "complete"
            )
        return found

    def cancel(self) -> None:
        """Break off a read that goes on in another thread; harmless if there is none."""
        self._cancelled = True
        self._rows.cancel()

    def close(self) -> None:
        """Release what the source holds."""
        self._rows.close()

    def _parts(self, batch: pa.RecordBatch, day: date) -> Iterator[pa.RecordBatch]:
        """Yield a batch as it travels, in small parts."""
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            if self._cancelled:
                raise SourceError(f"dataset {self._dataset.name}: reading {day} was broken off")
            part = self._as_it_travels(batch.slice(start, ROWS_AT_ONCE), day)
            self._check_day(part, day)
            yield part

    def _as_it_travels(self, batch: pa.RecordBatch, day: date) -> pa.RecordBatch:
        where = f"dataset {self._dataset.name}: {self._dataset.source.origin} for {day}"
        columns = []
        for name, kind in self._types.items():
            if name in batch.schema.names:
                given = batch.column(name)
                with naming(name, given.type, where):
                    columns.append(travelling(given, kind))
            elif self._adds_day and name == self.shape.day_column:
                columns.append(pa.repeat(pa.scalar(day, pa.date32()), batch.num_rows))
            else:
                raise SourceError(
                    f"dataset {self._dataset.name}: the rows of {day} from "
                    f"{self._dataset.source.origin} have no column {name!r}, which it had when it "
                    "was opened"
                )
        return pa.record_batch(columns, schema=self._schema)

    def _check_day(self, part: pa.RecordBatch, day: date) -> None:
        """Raise SourceError for a row of another day: no sync of this one would find it again."""
        if self._adds_day:
            return
        column = self._days_of(part, day)
        bounds = day_bounds(day, self.shape.day_type, self._dataset.zone)
        found = pc.min_max(column)
        lowest, highest = found["min"], found["max"]
        for value in (lowest, highest):
            if value.is_valid and not bounds.lower <= value.as_py() < bounds.upper:
                raise SourceError(
                    f"dataset {self._dataset.name}: {self._dataset.source.origin} gave a row of "
                    f"{value} for {day} in its day_column {self.shape.day_column!r}"
                )
        if column.null_count:
            raise SourceError(
                f"dataset {self._dataset.name}: {self._dataset.source.origin} gave a row of {day} "
                f"whose day_column {self.shape.day_column!r} is empty"
            )

    def _days_of(self, part: pa.RecordBatch, day: date) -> pa.Array:
        """Return the day column, read if it is declared and travels as text."""
        name, day_type = self.shape.day_column, self.shape.day_type
        column = part.column(name)
        if name not in self._rows.declared:
            return column
        try:
            return pc.cast(column, DAY_TYPES[day_type])
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"dataset {self._dataset.name}: {self._dataset.source.origin} gave a row of {day} "
                f"whose day_column {name!r} is {first_unreadable(column, day_type)}, no "
                f"{day_type.value} written as {WRITTEN[day_type]}"
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
                    f"{where} has a column named {name!r}; PostgreSQL takes names of 1 to "
                    f"{MAX_NAME_BYTES} bytes, rename it"
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
