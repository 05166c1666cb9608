"""The `Source` protocol: a source describes its columns and writes the rows of one day.

Every source writes rows in one of PostgreSQL's COPY formats, so the target loads them all the same
way. A source that reads Arrow record batches implements `ArrowRows` instead; `arrow/source.py`
turns it into a `Source`. To add a source type, add a module here, a module for its keys in
`config/sources/`, and a line in each `__init__.py`. Does not implement any source.
"""

from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from sync_pipeline.config.day_bounds import DayType as DayType  # re-exported with `Shape`

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class CopyFormat(str, Enum):
    """A format for PostgreSQL's COPY.

    Binary is faster, but each target column must have exactly the type of its source column. Text
    has one line per row, and PostgreSQL converts its values to the types of the target columns.
    """

    BINARY = "binary"
    TEXT = "text"


@dataclass(frozen=True)
class Column:
    """A column's name and its type as PostgreSQL writes it, such as ``numeric(10,2)``."""

    name: str
    type: str


@dataclass(frozen=True)
class Shape:
    """The columns that a source delivers, in order, and the name and type of its day column.

    Every source supports the text format; `binary` is true if this one also supports the binary
    format.
    """

    columns: tuple[Column, ...]
    day_column: str
    day_type: DayType
    binary: bool = True


class ByteSink(Protocol):
    """An object that accepts bytes: a file, a buffer, the write end of a pipe."""

    def write(self, data: "ReadableBuffer", /) -> int: ...


class Source(Protocol):
    """A connected source for one dataset. Only `cancel` may be called from another thread."""

    @property
    def shape(self) -> Shape:
        """The columns that the source delivers, as read when it was opened."""
        ...

    def read_day(self, day: date, out: ByteSink, copy_format: CopyFormat) -> int:
        """Write the rows of `day` to `out` in `copy_format` and return the number of rows.

        Writes exactly the columns of `shape`. Raises SourceError, NotReadyError, or any error that
        `out` raises. Can be called again after an error: a failed connection is replaced.
        """
        ...

    def cancel(self) -> None:
        """Cancel a read in progress in another thread. Does nothing if there is none."""
        ...

    def close(self) -> None:
        """Release the source's resources. Idempotent."""
        ...
