"""Quote the names of the target's tables and columns.

Does not check that they exist: see `table.py`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def identifier(dataset: Dataset) -> sql.Identifier:
    """Return the quoted name of the dataset's target table."""
    return sql.Identifier(*dataset.target.table.split("."))


def join_identifiers(names: Iterable[str]) -> sql.Composed:
    """Return column names, quoted and separated by commas."""
    return sql.SQL(", ").join([sql.Identifier(name) for name in names])


def quote(cursor: "Cursor", name: str) -> str:
    """Return `name` as a quoted identifier, for a statement in an error message."""
    return sql.Identifier(name).as_string(cursor)
