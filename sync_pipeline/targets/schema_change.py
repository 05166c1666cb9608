"""What becomes of the target table when the source's columns change.

A new column is added, and one that the source has dropped is left empty, where the dataset says
so; else both are errors. A type that changed is looked at by `fit`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.database.named_sql import load
from sync_pipeline.errors import TargetError
from sync_pipeline.sources.base import Column, Shape
from sync_pipeline.targets.locks import lock_table
from sync_pipeline.targets.names import identifier

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def follow(
    cursor: "Cursor", dataset: Dataset, shape: Shape, former: Mapping[str, str] | None
) -> list[str]:
    """Let the dataset's target table follow the source, which had the columns `former` before.

    Returns what was changed, a sentence each; nothing for a table that is yet to be made, or a
    source that was never opened. Raises TargetError for a change that the dataset does not follow.
    """
    if former is None:
        return []
    table = _columns(cursor, dataset)
    if not table:
        return []
    names = {column.name for column in shape.columns}
    new = [c for c in shape.columns if c.name not in table and c.name not in former]
    dropped = [name for name in former if name not in names and name in table]
    if dataset.target.on_schema_change == "fail":
        _refuse(cursor, dataset, new, dropped)
        return []
    if new:
        lock_table(cursor, dataset.target.table)
        for column in new:
            cursor.execute(_add(dataset, column))
    target = dataset.target.table
    return [
        *(f"column {c.name} ({c.type}) was added to {target}" for c in new),
        *(f"column {name} of {target} stays empty from now on" for name in dropped),
    ]


def _refuse(cursor: "Cursor", dataset: Dataset, new: list[Column], dropped: list[str]) -> None:
    said = []
    if new:
        statements = "; ".join(_add(dataset, column).as_string(cursor) for column in new)
        said.append(f"has the new columns {', '.join(c.name for c in new)} (run: {statements})")
    if dropped:
        said.append(
            f"has no longer the columns {', '.join(dropped)} (drop them from "
            f"{dataset.target.table} if they are of no use)"
        )
    if said:
        raise TargetError(
            f"dataset {dataset.name}: the source {', and '.join(said)}; or set on_schema_change: "
            "add_columns in its defs.yaml"
        )


def _columns(cursor: "Cursor", dataset: Dataset) -> set[str]:
    table = identifier(dataset).as_string(cursor)
    cursor.execute(load(__package__, "table.sql")["column_names"], {"table": table})
    return {name for (name,) in cursor.fetchall()}


def _add(dataset: Dataset, column: Column) -> sql.Composed:
    return sql.SQL("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {kind}").format(
        table=identifier(dataset), name=sql.Identifier(column.name), kind=sql.SQL(column.type)
    )
