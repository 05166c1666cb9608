"""Names in the target database, quoted."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def identifier(dataset: Dataset) -> sql.Identifier:
    """Return the quoted name of the dataset's target table."""
    return sql.Identifier(*dataset.target.table.split("."))


def listed(names: Iterable[str]) -> sql.Composed:
    """Return names of columns, quoted, with commas between."""
    return sql.SQL(", ").join([sql.Identifier(name) for name in names])


def quoted(cursor: "Cursor", name: str) -> str:
    """Return a name as it stands in a statement that somebody is told to run."""
    return sql.Identifier(name).as_string(cursor)
