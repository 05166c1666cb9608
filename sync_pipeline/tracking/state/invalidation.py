"""Invalidate synced days whose rows were lost with their target table.

Does not detect that the table is missing: see `targets/table.py`.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.state import corrections, remarks
from sync_pipeline.tracking.state.corrections import Correction

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "invalidation.sql")


def invalidate_days(
    cursor: "Cursor", dataset: str, table: str, before: datetime, run_id: str | None
) -> None:
    """Mark a dataset's days as failed if they were synced before its table was found missing.

    `before` is the time when it was found missing. Idempotent. Does not change the days' attempts
    or batches, which are history.
    """
    error = (
        f"the target table {table} was missing: the rows of this day are lost; sync the day again"
    )
    values = {
        "dataset": dataset,
        "before": before,
        "error": error,
        "remarks": remarks.day_failed(error),
    }
    cursor.execute(_SQL["invalidate_days"], values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a count without GROUP BY returns a row
    days, first, last = row
    if days:
        what = f"{days} days, from {first} to {last}, were marked as failed"
        why = f"the target table {table} was missing"
        corrections.write(cursor, Correction(what, why, dataset, run_id=run_id))
