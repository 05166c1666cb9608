"""The rows of a day among the rows of a file, where their day is declared and stands there as
text."""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayType, day_bounds
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.arrow.types import DAY_TYPES, WRITTEN, first_unreadable


class TextDays:
    """Keeps the rows of one day, where a file may hold more; else refuses those of another."""

    def __init__(self, dataset: Dataset, keys: FilesSource) -> None:
        self._dataset = dataset
        self._column = keys.day_column
        self._chooses = not keys.pattern.is_daily
        declared = (keys.columns or {}).get(keys.day_column)
        # Of another type it is refused for good when the source is opened.
        self._type = DayType(declared) if declared in [kind.value for kind in DayType] else None

    def of(self, day: date, batch: pa.RecordBatch, where: str) -> pa.RecordBatch:
        """Return the rows of `day`. Raises SourceError, which begins with `where`."""
        if self._type is None:
            return batch
        is_of_day = self._is_of(day, batch.column(self._column), where)
        if self._chooses:
            return batch.filter(is_of_day)  # a row without a day is of none
        others = pc.fill_null(pc.invert(is_of_day), True)
        if pc.any(others).as_py():
            other = batch.column(self._column).filter(others)[0].as_py()
            raise SourceError(
                f"{where} has a row whose day_column {self._column!r} is {_shown(other)}; a file "
                "of one day must hold that day's rows only, or the day must stand in the rows only"
            )
        return batch

    def _is_of(self, day: date, texts: pa.Array, where: str) -> pa.Array:
        assert self._type is not None  # noqa: S101  asked by `of`
        kind = DAY_TYPES[self._type]
        try:
            values = pc.cast(texts, kind)
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{where} has {first_unreadable(texts, self._type)} in its day_column "
                f"{self._column!r}, which is no {self._type.value} written as "
                f"{WRITTEN[self._type]}"
            ) from error
        bounds = day_bounds(day, self._type, self._dataset.zone)
        lower, upper = (pa.scalar(bound, kind) for bound in (bounds.lower, bounds.upper))
        return pc.and_(pc.greater_equal(values, lower), pc.less(values, upper))


def _shown(value: str | None) -> str:
    return "empty" if value is None else repr(value[:40])
