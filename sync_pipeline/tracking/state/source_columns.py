"""The columns that each dataset's source had when it was last opened.

Does not compare or change a table's columns: see `targets/`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sync_pipeline.tracking.state import corrections
from sync_pipeline.tracking.state.corrections import Correction

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_TABLE_EXISTS = "SELECT to_regclass('sync_source_columns') IS NOT NULL"
_LAST_SEEN = "SELECT columns FROM sync_source_columns WHERE dataset = %(dataset)s"
_REMEMBER = """
INSERT INTO sync_source_columns AS known (dataset, columns) VALUES (%(dataset)s, %(columns)s)
ON CONFLICT (dataset) DO UPDATE SET columns = excluded.columns, seen_at = clock_timestamp()
WHERE known.columns <> excluded.columns
"""


def last_seen(cursor: "Cursor", dataset: str) -> dict[str, str] | None:
    """Return the types of the source's columns, by name, as they were when it was last opened.

    Returns None if it was never opened, or if the tracking tables predate `sync_source_columns`.
    """
    if not _table_exists(cursor):
        return None
    cursor.execute(_LAST_SEEN, {"dataset": dataset})
    row = cursor.fetchone()
    return None if row is None else dict(row[0])


def remember(
    cursor: "Cursor",
    dataset: str,
    columns: Mapping[str, str],
    changes: Sequence[str],
    run_id: str | None,
) -> None:
    """Record a source's columns, and log the resulting `changes` to the target table as
    corrections. Idempotent."""
    if not _table_exists(cursor):
        return
    cursor.execute(_REMEMBER, {"dataset": dataset, "columns": json.dumps(dict(columns))})
    if cursor.rowcount == 0:
        return
    for change in changes:
        why = "the source's columns have changed (on_schema_change: add_columns)"
        corrections.write(cursor, Correction(change, why, dataset, run_id=run_id))


def _table_exists(cursor: "Cursor") -> bool:
    cursor.execute(_TABLE_EXISTS)
    return cursor.fetchone() == (True,)
