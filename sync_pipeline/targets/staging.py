"""`StagedWrite`: copy rows with a key into a temporary table, then move them into the target table.

`upsert` updates a row whose key exists; `append_only` leaves it unchanged. Rows are moved in key
order, so workers whose days share keys wait for each other but cannot deadlock. The ON CONFLICT
clause is in `one_row.py`.
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
from sync_pipeline.targets.names import join_identifiers
from sync_pipeline.targets.one_row import on_conflict
from sync_pipeline.targets.row_by_row import (
    ROWS_AT_ONCE,
    RejectedRow,
    describe_error,
    is_row_error,
    parse_line,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

TABLE = "the rows of the day"  # shown in PostgreSQL's error messages
KEY_ERROR_CODES = ("23502", "23505")
"""SQLSTATEs for a NULL key and a duplicate key in the temporary table."""

_TABLE = sql.Identifier("pg_temp", TABLE)
_PRIMARY_KEY = sql.SQL('ADD CONSTRAINT "target.key" PRIMARY KEY ({key})')
_NUMBER = "sync_pipeline row number"
_MAX_VALUE_CHARACTERS = 40


class StagedWrite:
    """The `WriteStrategy` for `upsert`, and for `append_only` with a key; see `write_modes.py`."""

    copies_into = _TABLE

    def __init__(self, dataset: Dataset, shape: Shape, into: sql.Identifier) -> None:
        self.row_numbers: str | None = None
        self._dataset = dataset
        self._names = [column.name for column in shape.columns]
        self._key = join_identifiers(dataset.target.key)
        self._into = into
        names = [sql.Identifier(name) for name in dataset.target.key]
        same = [sql.SQL("existing.{name} = staged.{name}").format(name=name) for name in names]
        self._same_key = sql.SQL(" AND ").join(same)
        self._columns = join_identifiers(self._names)
        self._keeps_existing = dataset.target.write == "append_only"
        self._on_conflict = on_conflict(dataset, self._names)

    def prepare(self, cursor: "Cursor") -> int:
        """Create the temporary table with the source's columns and the target's types, but without
        constraints."""
        cursor.execute(
            sql.SQL(
                "CREATE TEMP TABLE {name} ON COMMIT DROP AS "
                "SELECT {columns} FROM {into} WITH NO DATA"
            ).format(name=sql.Identifier(TABLE), columns=self._columns, into=self._into)
        )
        return 0

    def apply(self, cursor: "Cursor", copied: int) -> int:
        # Add the key after the copy: building its index once is faster than updating it per row.
        self._alter(cursor, _PRIMARY_KEY.format(key=self._key))
        if self._dataset.target.on_bad_row == "quarantine":
            # If this fails, the caller loads row by row.
            return self._move(cursor, copied, sql.SQL(""))
        cursor.execute("SAVEPOINT move_all")
        try:
            return self._move(cursor, copied, sql.SQL(""))
        except psycopg2.Error as error:
            if not is_row_error(error):
                raise
        cursor.execute("ROLLBACK TO SAVEPOINT move_all")
        self._raise_for_bad_row(cursor)
        return self._move(cursor, copied, sql.SQL(""))

    def _raise_for_bad_row(self, cursor: "Cursor") -> None:
        """Raise TargetError with the number, key and error of the first bad row in key order. The
        error from the statement that moves all rows does not identify the row."""
        # The identity column numbers the rows in the order in which they were copied.
        number = sql.SQL("ADD {} bigint GENERATED ALWAYS AS IDENTITY UNIQUE")
        self._alter(cursor, number.format(sql.Identifier(_NUMBER)))
        self.apply_row_by_row(cursor, 0, self._raise_rejected)

    def _raise_rejected(self, row: RejectedRow) -> NoReturn:
        key = {name: row.values[name] or "" for name in self._dataset.target.key}
        shown = ", ".join(
            f"{name} {value[:_MAX_VALUE_CHARACTERS]!r}" for name, value in key.items()
        )
        raise TargetError(
            f"dataset {self._dataset.name}: cannot load row {row.number} ({shown}) into the target "
            f"table {self._dataset.target.table}: {row.error}"
        )

    def prepare_row_by_row(self, cursor: "Cursor") -> None:
        """Add a column for row numbers, and a primary key that rejects bad keys during the copy."""
        number = sql.SQL("ADD {} bigint UNIQUE").format(sql.Identifier(_NUMBER))
        self._alter(cursor, sql.SQL(", ").join([number, _PRIMARY_KEY.format(key=self._key)]))
        self.row_numbers = _NUMBER

    def apply_row_by_row(
        self, cursor: "Cursor", copied: int, on_rejected: Callable[[RejectedRow], None]
    ) -> int:
        with closing(self._numbers_by_key(cursor)) as batches:
            return sum(self._move_or_reject(cursor, batch, on_rejected) for batch in batches)

    def _numbers_by_key(self, cursor: "Cursor") -> Generator[list[int], None, None]:
        """Yield the numbers of all rows in key order, `ROWS_AT_ONCE` at a time."""
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
        """Move the rows with these numbers; if that fails, bisect them to find the bad rows."""
        only = sql.SQL("WHERE {} = ANY({})").format(
            sql.Identifier(_NUMBER), sql.Literal(list(numbers))
        )
        cursor.execute("SAVEPOINT move")
        try:
            moved = self._move(cursor, len(numbers), only)
        except psycopg2.Error as error:
            if not is_row_error(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT move; RELEASE SAVEPOINT move")
            text = describe_error(error)
        else:
            cursor.execute("RELEASE SAVEPOINT move")
            return moved
        if len(numbers) == 1:
            on_rejected(RejectedRow(numbers[0], self._values(cursor, only), text))
            return 0
        half = len(numbers) // 2
        return sum(
            self._move_or_reject(cursor, part, on_rejected)
            for part in (numbers[:half], numbers[half:])
        )

    def _move(self, cursor: "Cursor", count: int, only: sql.Composable) -> int:
        """Move `count` rows; return how many were inserted or updated.

        For `append_only`, rows whose key already existed count too. The result is less than `count`
        if a trigger drops rows.
        """
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
        if moved < count and self._keeps_existing:
            return self._count_existing(cursor, only)
        return moved

    def _count_existing(self, cursor: "Cursor", only: sql.Composable) -> int:
        """Return how many staged rows have a key that is in the target table. Each key is looked up
        in the index, so the cost depends on the number of staged rows, not on the table's size."""
        cursor.execute(
            sql.SQL(
                "SELECT count((SELECT true FROM {into} AS existing WHERE {same})) "
                "FROM {staged} AS staged {only}"
            ).format(into=self._into, same=self._same_key, staged=_TABLE, only=only)
        )
        (count,) = cursor.fetchone() or (0,)
        return int(count)

    def _values(self, cursor: "Cursor", only: sql.Composable) -> dict[str, str | None]:
        line = io.BytesIO()
        copy = sql.SQL("COPY (SELECT {} FROM {} {}) TO STDOUT").format(self._columns, _TABLE, only)
        cursor.copy_expert(copy, line)
        return parse_line(line.getvalue()[:-1], self._names)

    def _alter(self, cursor: "Cursor", how: sql.Composable) -> None:
        cursor.execute(sql.SQL("ALTER TABLE {} {}").format(_TABLE, how))
