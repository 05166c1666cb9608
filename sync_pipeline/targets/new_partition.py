"""`NewPartition`: create the partition for one day.

The partition is created as a separate table with its parent's structure, loaded, and attached at
the end of the day's transaction. The lock on the parent, which prevents other sessions from
attaching partitions but does not block readers or writers, is therefore held only briefly. Does not
decide whether a day needs a partition: see `partitions.py`.
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
    """A partitioned table.

    `by_day` is true if it is partitioned by RANGE on the day column alone. `must_route_rows` is
    true if rows must be inserted through it because it has triggers, foreign keys or identity
    columns, which a partition does not have before it is attached.
    """

    oid: int
    schema: str
    name: str
    by_day: bool
    has_default: bool
    must_route_rows: bool

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


class NewPartition:
    """A partition for one day. `into` is the table that the day's rows are loaded into."""

    def __init__(
        self, dataset: Dataset, shape: Shape, day: date, bounds: DayBounds, parent: Parent
    ) -> None:
        self._dataset = dataset
        self._day = day
        self._parent = parent
        self._table = sql.Identifier(parent.schema, _name(parent.name, day))
        self._column = sql.Identifier(shape.day_column)
        self._lower, self._upper = sql.Literal(bounds.lower), sql.Literal(bounds.upper)
        self._attached = parent.must_route_rows
        self.into = identifier(dataset) if self._attached else self._table

    def create(self, cursor: "Cursor") -> None:
        """Create the partition; attach it now if its rows must be inserted through the parent.

        Raises TargetError if a table with the partition's name already exists, or if this user
        lacks the privilege to create it.
        """
        cursor.execute(_EXISTS, [self._table.as_string(cursor)])
        if cursor.fetchone() == (True,):
            raise TargetError(
                f"dataset {self._dataset.name}: {self._day} needs a partition of "
                f"{self._dataset.target.table}, but a table named {self._table.as_string(cursor)} "
                "exists that is not a partition; rename it, or run: "
                f"{self._attach_statement().as_string(cursor)}"
            )
        cursor.execute("SAVEPOINT no_partition")
        try:
            cursor.execute(self._create_statement())
            if self._attached:
                cursor.execute(self._attach_statement())
        except errors.InsufficientPrivilege as error:
            raise self._permission_error(cursor) from error

    def finish(self, cursor: "Cursor", rows: int) -> None:
        """Attach the partition, or drop it if the day has no rows. Raises TargetError."""
        if not rows:
            cursor.execute("ROLLBACK TO SAVEPOINT no_partition")
        elif not self._attached:
            try:
                cursor.execute(self._attach_statement())
            except errors.InsufficientPrivilege as error:
                raise self._permission_error(cursor) from error
            # The constraint let the server attach the partition without scanning its rows.
            cursor.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(self._table, _CHECK))

    def _create_statement(self) -> sql.Composed:
        # A partition gets identity columns from its parent when it is attached.
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

    def _attach_statement(self) -> sql.Composed:
        return sql.SQL(
            "ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ({lower}) TO ({upper})"
        ).format(parent=self._parent.table, table=self._table, lower=self._lower, upper=self._upper)

    def _permission_error(self, cursor: "Cursor") -> TargetError:
        cursor.execute("ROLLBACK TO SAVEPOINT no_partition")
        create = sql.SQL(
            "CREATE TABLE {table} PARTITION OF {parent} FOR VALUES FROM ({lower}) TO ({upper})"
        ).format(table=self._table, parent=self._parent.table, lower=self._lower, upper=self._upper)
        return TargetError(
            f"dataset {self._dataset.name}: no partition of {self._dataset.target.table} "
            f"covers {self._day}, and the target user {cursor.connection.info.user} lacks "
            f"permission to create one; run as the table's owner: {create.as_string(cursor)}"
        )


def _name(parent: str, day: date) -> str:
    """Return the name of the partition for a day, with the parent's name truncated to fit."""
    end = f"_{day:%Y_%m_%d}"
    return parent.encode()[: _NAME_BYTES - len(end)].decode("utf-8", "ignore") + end
