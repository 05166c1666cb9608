"""Build the ON CONFLICT clause for each write mode, and insert a single row.

Does not load whole days: see `write_modes.py` and `staging.py`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.targets.names import identifier, join_identifiers

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def on_conflict(dataset: Dataset, columns: Sequence[str]) -> sql.Composable:
    """Return the ON CONFLICT clause for inserting `columns`; it is empty if there is no key."""
    key = dataset.target.key
    if not key:
        return sql.SQL("")
    if dataset.target.write == "append_only":
        return sql.SQL("ON CONFLICT ({}) DO NOTHING").format(join_identifiers(key))
    # If all columns are part of the key, update the row without changing it, so that it is counted.
    changed = [name for name in columns if name not in key] or key
    return sql.SQL("ON CONFLICT ({key}) DO UPDATE SET {changes}").format(
        key=join_identifiers(key),
        changes=sql.SQL(", ").join(
            [
                sql.SQL("{name} = EXCLUDED.{name}").format(name=sql.Identifier(name))
                for name in changed
            ]
        ),
    )


def insert(cursor: "Cursor", dataset: Dataset, values: Mapping[str, str | None]) -> None:
    """Insert a row using the dataset's write mode. `values` maps column names to text values.

    Raises psycopg2.DataError if the row was not stored; other driver errors are passed on.
    """
    key = dataset.target.key
    empty = [name for name in key if values.get(name) is None]
    if empty:
        raise psycopg2.DataError(f"key column {empty[0]!r} is NULL")
    statement = sql.SQL("INSERT INTO {table} ({columns}) VALUES ({values}) {on_conflict}").format(
        table=identifier(dataset),
        columns=join_identifiers(values),
        values=sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        on_conflict=on_conflict(dataset, list(values)),
    )
    cursor.execute(statement, list(values.values()))
    if cursor.rowcount != 1 and not _keeps_existing(cursor, dataset, values):
        raise psycopg2.DataError(f"the table stored {cursor.rowcount} rows instead of 1")


def _keeps_existing(cursor: "Cursor", dataset: Dataset, values: Mapping[str, str | None]) -> bool:
    """Return whether the dataset is append_only and the table has a row with the same key."""
    key = dataset.target.key
    if dataset.target.write != "append_only" or not key:
        return False
    same = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in key]
    query = sql.SQL("SELECT FROM {} WHERE {}").format(
        identifier(dataset), sql.SQL(" AND ").join(same)
    )
    cursor.execute(query, [values[name] for name in key])
    return cursor.rowcount == 1
