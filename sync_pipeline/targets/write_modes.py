"""`WriteStrategy`: write the rows of a day with `replace_day`, `upsert` or `append_only`.

A strategy chooses the table that rows are copied into, prepares it, and writes the copied rows to
the target table. In every mode, `loaded` counts the day's rows that the table contains afterwards;
see docs/targets.md. Does not read or copy rows: see `postgres.py`.
"""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Protocol

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import day_bounds
from sync_pipeline.errors import DayNotEmptyError
from sync_pipeline.sources.base import Shape
from sync_pipeline.targets import staging
from sync_pipeline.targets.row_by_row import RejectedRow
from sync_pipeline.targets.staging import StagedWrite

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_NO_PARTITION = "23514"  # check_violation; if it names no constraint, no partition fits the row


class WriteStrategy(Protocol):
    """Writes one day, in one transaction."""

    @property
    def copies_into(self) -> sql.Identifier:
        """The table that rows are copied into."""
        ...

    @property
    def row_numbers(self) -> str | None:
        """The column of `copies_into` that stores a row's number in the day, or None."""
        ...

    def prepare(self, cursor: "Cursor") -> int:
        """Prepare the table for the rows; return how many existing rows were deleted."""
        ...

    def apply(self, cursor: "Cursor", copied: int) -> int:
        """Write the `copied` rows to the target table; return how many count as loaded."""
        ...

    def prepare_row_by_row(self, cursor: "Cursor") -> None:
        """Prepare to copy the rows again, row by row; call this after `prepare`."""
        ...

    def apply_row_by_row(
        self, cursor: "Cursor", copied: int, on_rejected: Callable[[RejectedRow], None]
    ) -> int:
        """Write the `copied` rows to the target table, except those that it rejects.

        Calls `on_rejected` for each rejected row; returns how many rows count as loaded.
        """
        ...


def choose_strategy(
    dataset: Dataset, shape: Shape, day: date, into: sql.Identifier
) -> WriteStrategy:
    """Return the strategy for writing the rows of `day`.

    `into` is the table to write to: the dataset's target table or a new partition of it.
    """
    if dataset.target.key:
        return StagedWrite(dataset, shape, into)
    if dataset.target.write == "append_only":
        return _AppendDay(dataset, shape, day, into)
    return _ReplaceDay(dataset, shape, day, into)


class _Direct:
    """Copies rows directly into the target table."""

    row_numbers = None

    def __init__(self, dataset: Dataset, shape: Shape, day: date, into: sql.Identifier) -> None:
        self.copies_into = into
        self._dataset = dataset
        self._day = day
        bounds = day_bounds(day, shape.day_type, dataset.zone)
        self._from_day = sql.SQL("FROM {table} WHERE {day} >= {lower} AND {day} < {upper}").format(
            table=into,
            day=sql.Identifier(shape.day_column),
            lower=sql.Literal(bounds.lower),
            upper=sql.Literal(bounds.upper),
        )

    def apply(self, cursor: "Cursor", copied: int) -> int:
        return copied

    def prepare_row_by_row(self, cursor: "Cursor") -> None:
        """Do nothing: the target table needs no preparation."""

    def apply_row_by_row(
        self, cursor: "Cursor", copied: int, on_rejected: Callable[[RejectedRow], None]
    ) -> int:
        return copied


class _ReplaceDay(_Direct):
    """`replace_day`: delete the existing rows of the day first."""

    def prepare(self, cursor: "Cursor") -> int:
        cursor.execute(sql.SQL("DELETE {}").format(self._from_day))
        return cursor.rowcount


class _AppendDay(_Direct):
    """`append_only` without a key: fail a day that already has rows, because duplicates could not
    be detected."""

    def prepare(self, cursor: "Cursor") -> int:
        cursor.execute(sql.SQL("SELECT count(*) {}").format(self._from_day))
        (found,) = cursor.fetchone() or (0,)
        if found:
            raise DayNotEmptyError(
                f"dataset {self._dataset.name}: {self._dataset.target.table} already has {found} "
                f"rows for {self._day}, and append_only without a key writes a day only if it has "
                "none; set target.key to the columns that identify a row, or delete the day's rows "
                "and sync the day again"
            )
        return 0


def explain(error: psycopg2.Error, dataset: Dataset, day: date) -> str:
    """Return advice to append to the message of `error` if it was caused by a key or a missing
    partition; otherwise return an empty string."""
    diag = error.diag
    if diag.table_name == staging.TABLE and error.pgcode in staging.KEY_ERROR_CODES:
        return (
            f"; target.key ({', '.join(dataset.target.key)}) must be unique and not NULL in the "
            f"rows of {day}. Correct target.key, or the rows at the source; nothing was written"
        )
    if error.pgcode == _NO_PARTITION and diag.constraint_name is None:
        return (
            "; create a partition for it. Partitions are created automatically only if the table "
            "is partitioned by RANGE on the day_column alone"
        )
    return ""
