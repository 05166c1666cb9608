"""Rows with a key: copied into a temporary table first, then moved into the real one.

A row is moved whether or not its key is in the table: `upsert` then updates the row that is there,
`append_only` leaves it as it is. Rows are moved in the order of their keys, so that two workers
whose days share keys wait for each other, but never in a circle.
"""

import io
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import TargetError
from sync_pipeline.sources.base import Shape
from sync_pipeline.targets.names import listed
from sync_pipeline.targets.one_row import on_conflict
from sync_pipeline.targets.row_by_row import (
    ROWS_AT_ONCE,
    RejectedRow,
    is_rows_fault,
    said_of,
    values_of,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

TABLE = "the rows of the day"  # as PostgreSQL's errors show it
KEY_FAULTS = ("23502", "23505")
"""What the temporary table says of a key that is NULL, or that two rows have."""

_TABLE = sql.Identifier("pg_temp", TABLE)
_ONE_ROW_A_KEY = sql.SQL('ADD CONSTRAINT "target.key" PRIMARY KEY ({key})')
_NUMBER = "sync_pipeline row number"
_SHOWN_CHARACTERS = 40


class Staged:
    """The writing of one day by `upsert`, or by `append_only` with a key; see `Writing`."""

    copies_into = _TABLE

    def __init__(self, dataset: Dataset, shape: Shape, into: sql.Identifier) -> None:
        self.row_numbers: str | None = None
        self._dataset = dataset
        self._names = [column.name for column in shape.columns]
        self._key = listed(dataset.target.key)
        self._into = into
        names = [sql.Identifier(name) for name in dataset.target.key]
        same = [sql.SQL("held.{name} = staged.{name}").format(name=name) for name in names]
        self._same_key = sql.SQL(" AND ").join(same)
        self._columns = listed(self._names)
        self._keeps_what_is_in = dataset.target.write == "append_only"
        self._on_conflict = on_conflict(dataset, self._names)

    def begin(self, cursor: "Cursor") -> int:
        """Make the temporary table: the source's columns in the target's types, no constraint."""
        cursor.execute(
            sql.SQL(
                "CREATE TEMP TABLE {name} ON COMMIT DROP AS "
                "SELECT {columns} FROM {into} WITH NO DATA"
            ).format(name=sql.Identifier(TABLE), columns=self._columns, into=self._into)
        )
        return 0

    def take(self, cursor: "Cursor", copied: int) -> int:
        # Made afterwards: sorting once is quicker than keeping the order row by row.
        self._alter(cursor, _ONE_ROW_A_KEY.format(key=self._key))
        if self._dataset.target.on_bad_row == "quarantine":  # which is told of each bad row
            return self._move(cursor, copied, sql.SQL(""))
        cursor.execute("SAVEPOINT taken")
        try:
            return self._move(cursor, copied, sql.SQL(""))
        except psycopg2.Error as error:
            if not is_rows_fault(error):
                raise
        cursor.execute("ROLLBACK TO SAVEPOINT taken")
        self._name_bad_row(cursor)
        return self._move(cursor, copied, sql.SQL(""))

    def _name_bad_row(self, cursor: "Cursor") -> None:
        """Raise TargetError with the number, the key and the fault of a bad row, the first by key;
        of many rows that are moved at once the database says less."""
        # Numbered in the order in which they were copied.
        number = sql.SQL("ADD {} bigint GENERATED ALWAYS AS IDENTITY UNIQUE")
        self._alter(cursor, number.format(sql.Identifier(_NUMBER)))
        self.take_carefully(cursor, 0, self._refuse)

    def _refuse(self, row: RejectedRow) -> NoReturn:
        key = {name: row.values[name] or "" for name in self._dataset.target.key}
        shown = ", ".join(f"{name} {value[:_SHOWN_CHARACTERS]!r}" for name, value in key.items())
        raise TargetError(
            f"dataset {self._dataset.name}: cannot load row {row.number} ({shown}) into the target "
            f"table {self._dataset.target.table}: {row.error}"
        )

    def begin_carefully(self, cursor: "Cursor") -> None:
        """Have each row numbered, and a key that is NULL or known refused at once."""
        number = sql.SQL("ADD {} bigint UNIQUE").format(sql.Identifier(_NUMBER))
        self._alter(cursor, sql.SQL(", ").join([number, _ONE_ROW_A_KEY.format(key=self._key)]))
        self.row_numbers = _NUMBER

    def take_carefully(
        self, cursor: "Cursor", copied: int, on_rejected: Callable[[RejectedRow], None]
    ) -> int:
        with closing(self._numbers_by_key(cursor)) as some:
            return sum(self._move_or_reject(cursor, numbers, on_rejected) for numbers in some)

    def _numbers_by_key(self, cursor: "Cursor") -> Generator[list[int], None, None]:
        """Yield the numbers of all rows in the order of their keys, some at a time."""
        query = sql.SQL("SELECT {number} FROM {staged} ORDER BY {key}").format(
            number=sql.Identifier(_NUMBER), staged=_TABLE, key=self._key
        )
        with cursor.connection.cursor(name=TABLE) as numbers:
            numbers.execute(query)
            while found := numbers.fetchmany(ROWS_AT_ONCE):
                yield [number for (number,) in found]

    def _move_or_reject(
        self,
        cursor: "Cursor",
        numbers: Sequence[int],
        on_rejected: Callable[[RejectedRow], None],
    ) -> int:
        """Move the rows of these numbers; if one of them is bad, halve them until it is alone."""
        only = sql.SQL("WHERE {} = ANY({})").format(
            sql.Identifier(_NUMBER), sql.Literal(list(numbers))
        )
        cursor.execute("SAVEPOINT move")
        try:
            moved = self._move(cursor, len(numbers), only)
        except psycopg2.Error as error:
            if not is_rows_fault(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT move; RELEASE SAVEPOINT move")
            said = said_of(error)
        else:
            cursor.execute("RELEASE SAVEPOINT move")
            return moved
        if len(numbers) == 1:
            on_rejected(RejectedRow(numbers[0], self._values(cursor, only), said))
            return 0
        half = len(numbers) // 2
        return sum(
            self._move_or_reject(cursor, some, on_rejected)
            for some in (numbers[:half], numbers[half:])
        )

    def _move(self, cursor: "Cursor", count: int, only: sql.Composable) -> int:
        """Move `count` rows; return how many of them the table took or, where it keeps what is in,
        holds: its triggers may have refused some."""
        cursor.execute(
            sql.SQL(
                "INSERT INTO {into} ({columns}) SELECT {columns} FROM {staged} {only} "
                "ORDER BY {key} {on_conflict}"
            ).format(
                into=self._into,
                columns=self._columns,
                staged=_TABLE,
                only=only,
                key=self._key,
                on_conflict=self._on_conflict,
            )
        )
        moved = cursor.rowcount
        if moved < count and self._keeps_what_is_in:
            return self._held(cursor, only)
        return moved

    def _held(self, cursor: "Cursor", only: sql.Composable) -> int:
        """Return how many staged rows have their key in the table, each looked up by the index:
        what it costs depends on the day, not on the size of the table."""
        cursor.execute(
            sql.SQL(
                "SELECT count((SELECT true FROM {into} AS held WHERE {same})) "
                "FROM {staged} AS staged {only}"
            ).format(into=self._into, same=self._same_key, staged=_TABLE, only=only)
        )
        (held,) = cursor.fetchone() or (0,)
        return int(held)

    def _values(self, cursor: "Cursor", only: sql.Composable) -> dict[str, str | None]:
        line = io.BytesIO()
        copy = sql.SQL("COPY (SELECT {} FROM {} {}) TO STDOUT").format(self._columns, _TABLE, only)
        cursor.copy_expert(copy, line)
        return values_of(line.getvalue()[:-1], self._names)

    def _alter(self, cursor: "Cursor", how: sql.Composable) -> None:
        cursor.execute(sql.SQL("ALTER TABLE {} {}").format(_TABLE, how))
