"""A partition for a day that none takes, where the target is partitioned by RANGE on the day.

It is made apart, like its parent, loaded there, and attached at the end of the day's transaction:
the lock that keeps others from attaching, and nobody from reading or writing, is held for a moment
only. Nothing is ever detached or dropped. Where a partition takes the day, the default one
included, rows go through the parent as into any table.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timezone
from typing import TYPE_CHECKING

from psycopg2 import errors, sql

from sync_pipeline.database.named_sql import load
from sync_pipeline.dataset import Dataset
from sync_pipeline.day_bounds import DayBounds, DayType, day_bounds
from sync_pipeline.errors import TargetError
from sync_pipeline.sources.base import Shape
from sync_pipeline.targets.locks import lock_table
from sync_pipeline.targets.names import identifier

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = load(__package__, "partitions.sql")
_NAME_BYTES = 63
_CHECK = sql.Identifier("sync_pipeline_bounds")


@dataclass(frozen=True)
class _Parent:
    oid: int
    schema: str
    name: str
    by_day: bool
    has_default: bool
    needs_rows_through_it: bool

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class _Taking:
    names: list[str]
    all_of_it: bool
    partitioned: int | None


class NewPartition:
    """A partition that is made for one day. Rows go into `into`, which holds none of the day."""

    def __init__(
        self, dataset: Dataset, shape: Shape, day: date, bounds: DayBounds, parent: _Parent
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
        cursor.execute(_SQL["exists"], {"table": self._table.as_string(cursor)})
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


def partition_for(
    cursor: "Cursor", dataset: Dataset, shape: Shape, day: date
) -> NewPartition | None:
    """Return the partition that was made for `day`, to be finished once its rows are in.

    None where there is nothing to make: some partition takes the day, or the table is partitioned
    by something else than RANGE on the day column alone. Raises TargetError if partitions take a
    part of the day only, and what `NewPartition.make` raises.
    """
    bounds = day_bounds(day, shape.day_type, dataset.zone)
    if bounds.lower == bounds.upper:  # a day that its zone skipped
        return None
    if _parent_to_extend(cursor, dataset, shape, day, bounds) is None:
        return None
    lock_table(cursor, f"{dataset.target.table} {day}")
    # Another dataset's worker may have made it while this one waited.
    parent = _parent_to_extend(cursor, dataset, shape, day, bounds)
    if parent is None:
        return None
    partition = NewPartition(dataset, shape, day, bounds, parent)
    partition.make(cursor)
    return partition


def _parent_to_extend(
    cursor: "Cursor", dataset: Dataset, shape: Shape, day: date, bounds: DayBounds
) -> _Parent | None:
    """Return the table, of the target and its partitions, that lacks a partition for the day."""
    cursor.execute(_SQL["oid"], {"table": identifier(dataset).as_string(cursor)})
    (oid,) = cursor.fetchone() or (None,)
    through = False
    while oid is not None:
        cursor.execute(_SQL["partitioning"], {"oid": oid, "day": shape.day_column})
        row = cursor.fetchone()
        parent = None if row is None else _Parent(*row)
        if parent is None or not parent.by_day or parent.has_default:
            return None
        through = through or parent.needs_rows_through_it
        taking = _taking(cursor, parent, shape.day_type, bounds)
        if not taking.names:
            return replace(parent, needs_rows_through_it=through)
        if not taking.all_of_it:
            raise TargetError(
                f"dataset {dataset.name}: of {day} ({dataset.timezone}) partitions of "
                f"{dataset.target.table} take a part only: {', '.join(taking.names)}; make one "
                f"for the rest of {bounds.lower} to {bounds.upper}"
            )
        oid = taking.partitioned
    return None


def _taking(cursor: "Cursor", parent: _Parent, day_type: DayType, bounds: DayBounds) -> _Taking:
    cursor.execute(
        _SQL["taking"],
        {
            "oid": parent.oid,
            "instants": day_type is DayType.TIMESTAMPTZ,
            "lower": _without_zone(bounds.lower),
            "upper": _without_zone(bounds.upper),
        },
    )
    return _Taking(*(cursor.fetchone() or ([], False, None)))


def _without_zone(bound: date | datetime) -> datetime:
    """Return a bound as a time without a zone: an instant's in UTC, a date's midnight."""
    if not isinstance(bound, datetime):
        return datetime.combine(bound, time.min)
    return bound if bound.tzinfo is None else bound.astimezone(timezone.utc).replace(tzinfo=None)


def _name(parent: str, day: date) -> str:
    """Return the name of the partition of a day, cut to what PostgreSQL takes."""
    end = f"_{day:%Y_%m_%d}"
    return parent.encode()[: _NAME_BYTES - len(end)].decode("utf-8", "ignore") + end
