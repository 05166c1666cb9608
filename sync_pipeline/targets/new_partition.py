"""A partition that is made for one day.

It is made apart, like its parent, loaded there, and attached at the end of the day's transaction:
the lock that keeps others from attaching, and nobody from reading or writing, is held for a moment
only.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from psycopg2 import errors, sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayBounds
from sync_pipeline.errors import TargetError
from sync_pipeline.sources.base import Shape
from sync_pipeline.targets.names import identifier

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_NAME_BYTES = 63
_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
_CHECK = sql.Identifier("sync_pipeline_bounds")


@dataclass(frozen=True)
class Parent:
    """A partitioned table: its own name, whether it is partitioned by RANGE on the day column alone
    and has a default partition, and whether rows must come through it: a partition that is made
    apart has none of its triggers, foreign keys and identity columns."""

    oid: int
    schema: str
    name: str
    by_day: bool
    has_default: bool
    needs_rows_through_it: bool

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


class NewPartition:
    """A partition that is made for one day. Rows go into `into`, which holds none of the day."""

    def __init__(
        self, dataset: Dataset, shape: Shape, day: date, bounds: DayBounds, parent: Parent
    ) -> None:
        self._dataset = dataset
        self._day = day
        self._parent = parent
        self._table = sql.Identifier(parent.schema, _name(parent.name, day))
        self._column = sql.Identifier(shape.day_column)
        self._lower, self._upper = sql.Literal(bounds.lower), sql.Literal(bounds.upper)
        self._attached = parent.needs_rows_through_it
        self.into = identifier(dataset) if self._attached else self._table

    def make(self, cursor: "Cursor") -> None:
        """Make it; attach it at once if its rows must come through the parent. Raises TargetError
        if a table of its name is there, or if this user may not."""
        cursor.execute(_EXISTS, [self._table.as_string(cursor)])
        if cursor.fetchone() == (True,):
            raise TargetError(
                f"dataset {self._dataset.name}: {self._day} needs a partition of "
                f"{self._dataset.target.table}, and a table {self._table.as_string(cursor)} is "
                f"there that is none; rename it, or run: {self._attach().as_string(cursor)}"
            )
        cursor.execute("SAVEPOINT no_partition")
        try:
            cursor.execute(self._create())
            if self._attached:
                cursor.execute(self._attach())
        except errors.InsufficientPrivilege as error:
            raise self._forbidden(cursor) from error

    def finish(self, cursor: "Cursor", rows: int) -> None:
        """Attach it; if the source gave no row, let there be none. Raises TargetError."""
        if not rows:
            cursor.execute("ROLLBACK TO SAVEPOINT no_partition")
        elif not self._attached:
            try:
                cursor.execute(self._attach())
            except errors.InsufficientPrivilege as error:
                raise self._forbidden(cursor) from error
            # It has told the server that no row need be looked at, and is the partition's bound.
            cursor.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(self._table, _CHECK))

    def _create(self) -> sql.Composed:
        # Not its identity columns, which a partition gets from its parent alone.
        return sql.SQL(
            "CREATE TABLE {table} (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY, "
            "CONSTRAINT {check} CHECK ({day} IS NOT NULL AND {day} >= {lower} AND {day} < {upper}))"
        ).format(
            table=self._table,
            parent=self._parent.table,
            check=_CHECK,
            day=self._column,
            lower=self._lower,
            upper=self._upper,
        )

    def _attach(self) -> sql.Composed:
        return sql.SQL(
            "ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ({lower}) TO ({upper})"
        ).format(parent=self._parent.table, table=self._table, lower=self._lower, upper=self._upper)

    def _forbidden(self, cursor: "Cursor") -> TargetError:
        cursor.execute("ROLLBACK TO SAVEPOINT no_partition")
        make = sql.SQL(
            "CREATE TABLE {table} PARTITION OF {parent} FOR VALUES FROM ({lower}) TO ({upper})"
        ).format(table=self._table, parent=self._parent.table, lower=self._lower, upper=self._upper)
        return TargetError(
            f"dataset {self._dataset.name}: no partition of {self._dataset.target.table} takes "
            f"{self._day}, and the target's user {cursor.connection.info.user} may not make one "
            f"(its owner may); run as the owner: {make.as_string(cursor)}"
        )


def _name(parent: str, day: date) -> str:
    """Return the name of the partition of a day, cut to what PostgreSQL takes."""
    end = f"_{day:%Y_%m_%d}"
    return parent.encode()[: _NAME_BYTES - len(end)].decode("utf-8", "ignore") + end
