"""Change the target table when the source's columns change.

With `on_schema_change: add_columns`, a new column is added, and a column that the source no longer
has is left empty; otherwise both are errors. Does not compare types: see `type_compatibility.py`.
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


def apply_schema_change(
    cursor: "Cursor", dataset: Dataset, shape: Shape, former: Mapping[str, str] | None
) -> list[str]:
    """Compare the source's columns with `former` (its columns at the last sync), and change the
    target table according to `on_schema_change`.

    Return one sentence per change. Do nothing if the table does not exist yet or `former` is None.
    Raises TargetError for any change if `on_schema_change` is `fail`.
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
        _reject(cursor, dataset, new, dropped)
        return []
    if new:
        lock_table(cursor, dataset.target.table)
        for column in new:
            cursor.execute(_add(dataset, column))
    target = dataset.target.table
    return [
        *(f"column {c.name} ({c.type}) was added to {target}" for c in new),
        *(f"column {name} of {target} is left empty from now on" for name in dropped),
    ]


def _reject(cursor: "Cursor", dataset: Dataset, new: list[Column], dropped: list[str]) -> None:
    problems = []
    if new:
        statements = "; ".join(_add(dataset, column).as_string(cursor) for column in new)
        problems.append(f"has the new columns {', '.join(c.name for c in new)} (run: {statements})")
    if dropped:
        problems.append(
            f"no longer has the columns {', '.join(dropped)} (drop them from "
            f"{dataset.target.table} if they are not needed)"
        )
    if problems:
        raise TargetError(
            f"dataset {dataset.name}: the source {', and '.join(problems)}; or set "
            "on_schema_change: add_columns in its defs.yaml"
        )


def _columns(cursor: "Cursor", dataset: Dataset) -> set[str]:
    table = identifier(dataset).as_string(cursor)
    cursor.execute(load(__package__, "table.sql")["column_names"], {"table": table})
    return {name for (name,) in cursor.fetchall()}


def _add(dataset: Dataset, column: Column) -> sql.Composed:
    return sql.SQL("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {kind}").format(
        table=identifier(dataset), name=sql.Identifier(column.name), kind=sql.SQL(column.type)
    )
