"""What is done about a row whose key the table holds, and one row alone, inserted by that."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.targets.names import identifier, listed

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def on_conflict(dataset: Dataset, columns: Sequence[str]) -> sql.Composable:
    """Return the end of an INSERT of `columns` that says what is done about a row whose key is in;
    empty where the dataset has no key."""
    key = dataset.target.key
    if not key:
        return sql.SQL("")
    if dataset.target.write == "append_only":
        return sql.SQL("ON CONFLICT ({}) DO NOTHING").format(listed(key))
    # Of a row that is all key nothing changes; it is updated all the same, and so counted.
    changed = [name for name in columns if name not in key] or key
    return sql.SQL("ON CONFLICT ({key}) DO UPDATE SET {changes}").format(
        key=listed(key),
        changes=sql.SQL(", ").join(
            [
                sql.SQL("{name} = EXCLUDED.{name}").format(name=sql.Identifier(name))
                for name in changed
            ]
        ),
    )


def insert(cursor: "Cursor", dataset: Dataset, values: Mapping[str, str | None]) -> None:
    """Insert a row, given as text by column, as the dataset's mode has it.

    Raises psycopg2.DataError if the table took none, and what the driver raises.
    """
    key = dataset.target.key
    empty = [name for name in key if values.get(name) is None]
    if empty:
        raise psycopg2.DataError(f"column {empty[0]!r} of the key is NULL")
    statement = sql.SQL("INSERT INTO {table} ({columns}) VALUES ({values}) {on_conflict}").format(
        table=identifier(dataset),
        columns=listed(values),
        values=sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        on_conflict=on_conflict(dataset, list(values)),
    )
    cursor.execute(statement, list(values.values()))
    if cursor.rowcount != 1 and not _keeps(cursor, dataset, values):
        raise psycopg2.DataError(f"the table took {cursor.rowcount} rows for it")


def _keeps(cursor: "Cursor", dataset: Dataset, values: Mapping[str, str | None]) -> bool:
    """Return whether a row with this one's key is in, which the dataset keeps as it is."""
    key = dataset.target.key
    if dataset.target.write != "append_only" or not key:
        return False
    same = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in key]
    query = sql.SQL("SELECT FROM {} WHERE {}").format(
        identifier(dataset), sql.SQL(" AND ").join(same)
    )
    cursor.execute(query, [values[name] for name in key])
    return cursor.rowcount == 1
