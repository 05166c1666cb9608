"""How a day's rows are written: `replace_day`, `upsert` or `append_only`, as the dataset says.

Each mode says where the rows are copied to, does what has to be done before, and brings those
that were copied into the table. `loaded` counts the same in all: the day's rows that the table
holds afterwards, each as the mode has it (see docs/targets.md).
"""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Protocol

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import day_bounds
from sync_pipeline.errors import TargetError
from sync_pipeline.sources.base import Shape
from sync_pipeline.targets import staging
from sync_pipeline.targets.row_by_row import RejectedRow
from sync_pipeline.targets.staging import Staged

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_NO_PARTITION = "23514"  # as a constraint's, but with no constraint named


class Writing(Protocol):
    """The writing of one day, in one transaction."""

    @property
    def copies_into(self) -> sql.Identifier:
        """The table that the rows are copied into."""
        ...

    @property
    def row_numbers(self) -> str | None:
        """The column of `copies_into` for a row's number in its day, where it has to be known."""
        ...

    def begin(self, cursor: "Cursor") -> int:
        """Do what comes before the rows; return how many rows were deleted."""
        ...

    def take(self, cursor: "Cursor", copied: int) -> int:
        """Bring the rows that were copied, so many, into the table; return how many it holds."""
        ...

    def begin_carefully(self, cursor: "Cursor") -> None:
        """Get ready for rows that are copied again, and for bad ones among them."""
        ...

    def take_carefully(
        self, cursor: "Cursor", copied: int, on_rejected: Callable[[RejectedRow], None]
    ) -> int:
        """As `take`, but a row that the table does not take is given to `on_rejected`."""
        ...


def writing(dataset: Dataset, shape: Shape, day: date, into: sql.Identifier) -> Writing:
    """Return how the rows of `day` are written into the table `into`: the dataset's target table,
    or the partition of it that is being made."""
    if dataset.target.key:
        return Staged(dataset, shape, into)
    if dataset.target.write == "append_only":
        return _AppendDay(dataset, shape, day, into)
    return _ReplaceDay(dataset, shape, day, into)


class _Direct:
    """Rows are copied straight into the table."""

    row_numbers = None

    def __init__(self, dataset: Dataset, shape: Shape, day: date, into: sql.Identifier) -> None:
        self.copies_into = into
        self._dataset = dataset
        self._day = day
        bounds = day_bounds(day, shape.day_type, dataset.zone)
        self._of_day = sql.SQL("FROM {table} WHERE {day} >= {lower} AND {day} < {upper}").format(
            table=into,
            day=sql.Identifier(shape.day_column),
            lower=sql.Literal(bounds.lower),
            upper=sql.Literal(bounds.upper),
        )

    def take(self, cursor: "Cursor", copied: int) -> int:
        return copied

    def begin_carefully(self, cursor: "Cursor") -> None:
        """There is nothing to do."""

    def take_carefully(
        self, cursor: "Cursor", copied: int, on_rejected: Callable[[RejectedRow], None]
    ) -> int:
        return copied


class _ReplaceDay(_Direct):
    """The rows of the day go, the new ones come."""

    def begin(self, cursor: "Cursor") -> int:
        cursor.execute(sql.SQL("DELETE {}").format(self._of_day))
        return cursor.rowcount


class _AppendDay(_Direct):
    """The rows of a day come once: without a key nobody could say which of them are in."""

    def begin(self, cursor: "Cursor") -> int:
        cursor.execute(sql.SQL("SELECT count(*) {}").format(self._of_day))
        (found,) = cursor.fetchone() or (0,)
        if found:
            raise TargetError(
                f"dataset {self._dataset.name}: {self._dataset.target.table} holds {found} rows of "
                f"{self._day}, and append_only without a key adds to no day that has rows; name "
                "in target.key the columns that tell a row from every other, or delete the day's "
                "rows yourself and sync it again"
            )
        return 0


def explanation(error: psycopg2.Error, dataset: Dataset, day: date) -> str:
    """Return what to do about an error that a mode, or a missing partition, is the reason of, to
    be put behind what the database said; empty for any other."""
    said = error.diag
    if said.table_name == staging.TABLE and error.pgcode in staging.KEY_FAULTS:
        return (
            f"; target.key ({', '.join(dataset.target.key)}) must tell the rows of {day} apart and "
            "be NULL in none. Mend the rows at the source or correct target.key; nothing was "
            "written"
        )
    if error.pgcode == _NO_PARTITION and said.constraint_name is None:
        return (
            "; make a partition that takes it. One is made by itself only where the table is "
            "partitioned by RANGE on the day_column alone"
        )
    return ""
