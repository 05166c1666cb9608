"""What a source is: something that knows its columns and can deliver one day of rows.

Rows travel in one of PostgreSQL's COPY formats, whatever the source is, so that the target has one
way to load them. A source that has rows as Arrow record batches is an `ArrowRows`, which `arrow`
makes a `Source` of. A new kind of source is one file beside this one, one for its keys, and a line
in each `__init__`.
"""

from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from sync_pipeline.config.day_bounds import DayType as DayType  # part of a Shape

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class CopyFormat(str, Enum):
    """How rows travel. Binary is the fastest, and takes a target column of just the source's type;
    of text, one line a row, the target reads what its column takes."""

    BINARY = "binary"
    TEXT = "text"


@dataclass(frozen=True)
class Column:
    """A column's name and its type as PostgreSQL writes it, such as ``numeric(10,2)``."""

    name: str
    type: str


@dataclass(frozen=True)
class Shape:
    """What a source delivers: its columns in order, and which of them decides the day. All can
    deliver text; `binary` says whether this one can deliver that too."""

    columns: tuple[Column, ...]
    day_column: str
    day_type: DayType
    binary: bool = True


class ByteSink(Protocol):
    """Something to write bytes to: a file, a buffer, the writer's end of a stream."""

    def write(self, data: "ReadableBuffer", /) -> int: ...


class Source(Protocol):
    """One dataset's source, connected. Used by one thread at a time, except for `cancel`."""

    @property
    def shape(self) -> Shape:
        """What it delivers, as found when it was opened."""
        ...

    def read_day(self, day: date, out: ByteSink, copy_format: CopyFormat) -> int:
        """Write the rows of `day` to `out` and return how many the source itself counted.

        Exactly the columns of `shape`, in that COPY format. Raises SourceError, NotReadyError, or
        what `out` raised. The next day can be read after a failure: what broke is opened anew.
        """
        ...

    def cancel(self) -> None:
        """Break off a read that goes on in another thread; harmless if there is none."""
        ...

    def close(self) -> None:
        """Release what the source holds. May be called twice."""
        ...
