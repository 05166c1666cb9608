"""Check that the source has a dataset's key columns and the target has a unique index on them.

Does not create the index: see `table.py`.
"""

from typing import TYPE_CHECKING

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.database.named_sql import load
from sync_pipeline.errors import SettingError, TargetError
from sync_pipeline.sources.base import Shape
from sync_pipeline.targets.names import identifier, join_identifiers, quote

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = load(__package__, "key.sql")


def check_columns(dataset: Dataset, shape: Shape) -> None:
    """Raise SettingError if the key contains a column that the source does not have."""
    names = [column.name for column in shape.columns]
    for name in dataset.target.key:
        if name not in names:
            raise SettingError(
                f"dataset {dataset.name}: target.key contains {name!r}, which is not a column of "
                f"the source (columns: {', '.join(names)}); correct the key in its defs.yaml"
            )


def check_table(cursor: "Cursor", dataset: Dataset, oid: int) -> None:
    """Raise TargetError if the table has no unique index on the key, or if this user lacks the
    privilege to create temporary tables (rows with a key are first copied into one)."""
    key = list(dataset.target.key)
    if not key:
        return
    cursor.execute(_SQL["unique"], {"oid": oid, "key": key})
    deferrable, index = cursor.fetchone() or (None, None)
    if index is None:
        raise TargetError(_describe_missing_index(cursor, dataset, oid))
    if deferrable:
        table = identifier(dataset).as_string(cursor)
        raise TargetError(
            f"dataset {dataset.name}: the unique constraint {index} of {dataset.target.table} is "
            "DEFERRABLE, so ON CONFLICT cannot use it; to replace it, run: "
            f"ALTER TABLE {table} DROP CONSTRAINT {index}, ADD UNIQUE "
            f"({join_identifiers(key).as_string(cursor)})"
        )
    cursor.execute(_SQL["may_create_temporary_tables"])
    may, database = cursor.fetchone() or (True, "")
    if not may:
        user = cursor.connection.info.user
        raise TargetError(
            f"dataset {dataset.name}: the target user {user} lacks permission to create "
            f"the temporary table that rows are copied into; run: GRANT TEMPORARY ON DATABASE "
            f"{quote(cursor, database)} TO {quote(cursor, user)}"
        )


def _describe_missing_index(cursor: "Cursor", dataset: Dataset, oid: int) -> str:
    key = list(dataset.target.key)
    cursor.execute(_SQL["partitioned_by"], {"oid": oid})
    missing = [name for (name,) in cursor.fetchall() if name not in key]
    key += missing
    columns = ", ".join(quote(cursor, name) for name in key)
    also = (
        f"set target.key to {key}, because the key of a partitioned table must include the "
        "partition columns, and "
        if missing
        else ""
    )
    return (
        f"dataset {dataset.name}: {dataset.target.table} has no unique index on its key "
        f"({', '.join(dataset.target.key)}); {also}run: "
        f"CREATE UNIQUE INDEX ON {identifier(dataset).as_string(cursor)} ({columns})"
    )
