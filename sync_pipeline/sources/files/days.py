"""Determine the day of rows whose day column has a declared type and is read as text, and select
the rows of one day.

Parquet files with a typed day column are filtered in `parquet.py`.
"""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayType, day_bounds
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.arrow.declared import to_iso_dates
from sync_pipeline.sources.arrow.types import DAY_FORMATS, DAY_TYPES, first_invalid
from sync_pipeline.sources.files.split import day_numbers


class TextDays:
    """Selects one day's rows from a file of many days, or checks that a daily file has only its
    day's rows."""

    def __init__(self, dataset: Dataset, keys: FilesSource) -> None:
        self._dataset = dataset
        self._column = keys.day_column
        self._format = keys.date_format
        self._filters_days = not keys.pattern.is_daily
        declared = (keys.columns or {}).get(keys.day_column)
        # Any other type is rejected when the source is opened.
        self._type = DayType(declared) if declared in [kind.value for kind in DayType] else None

    @property
    def has_type(self) -> bool:
        """Whether the day column has a declared type, without which rows have no day."""
        return self._type is not None

    def to_iso(self, batch: pa.RecordBatch, where: str) -> pa.RecordBatch:
        """Return the rows with the day column in ISO 8601 format, which the other methods expect.

        Raises SourceError, whose message starts with `where`.
        """
        if not self._format:
            return batch
        return to_iso_dates(batch, self._column, self._format, f"{where}:")

    def numbers(self, batch: pa.RecordBatch, where: str) -> pa.Array:
        """Return the day number of each row. Raises SourceError, as `select` does."""
        assert self._type is not None  # noqa: S101  the caller checked `has_type`
        return day_numbers(self._values(batch, where), self._type, self._dataset.zone)

    def select(self, day: date, batch: pa.RecordBatch, where: str) -> pa.RecordBatch:
        """Return the rows of `day`. Raises SourceError, whose message starts with `where`."""
        if self._type is None:
            return batch
        is_of_day = self._matches(day, self._values(batch, where))
        if self._filters_days:
            return batch.filter(is_of_day)  # this also drops rows whose day is NULL
        others = pc.fill_null(pc.invert(is_of_day), True)
        if pc.any(others).as_py():
            other = batch.column(self._column).filter(others)[0].as_py()
            raise SourceError(
                f"{where} has a row whose day_column {self._column!r} is {_format_value(other)}; a "
                "file whose path contains the day must contain only rows of that day"
            )
        return batch

    def _values(self, batch: pa.RecordBatch, where: str) -> pa.Array:
        assert self._type is not None  # noqa: S101  checked by the callers
        texts = batch.column(self._column)
        try:
            return pc.cast(texts, DAY_TYPES[self._type])
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{where} has the value {first_invalid(texts, self._type)} in day_column "
                f"{self._column!r}; it must be a {self._type.value} written as "
                f"{DAY_FORMATS[self._type]}, or as 'date_format' in its defs.yaml specifies"
            ) from error

    def _matches(self, day: date, values: pa.Array) -> pa.Array:
        assert self._type is not None  # noqa: S101  checked by `select`
        bounds = day_bounds(day, self._type, self._dataset.zone)
        lower, upper = (pa.scalar(bound, values.type) for bound in (bounds.lower, bounds.upper))
        return pc.and_(pc.greater_equal(values, lower), pc.less(values, upper))


def _format_value(value: str | None) -> str:
    return "empty" if value is None else repr(value[:40])
