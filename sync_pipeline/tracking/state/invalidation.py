"""Invalidate synced days whose rows were lost with their target table.

Does not detect that the table is missing: see `targets/table.py`.
"""

from typing import TYPE_CHECKING

from sync_pipeline.tracking.state import corrections
from sync_pipeline.tracking.state.corrections import Correction

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_INVALIDATE = """
SELECT days, first_day, last_day FROM sync_invalidate_days(%(dataset)s, %(error)s, %(ago)s)
"""


def invalidate_days(
    cursor: "Cursor", dataset: str, table: str, run_id: str | None, *, ago: float = 0.0
) -> None:
    """Mark a dataset's days as failed if they were synced before its table was found missing,
    `ago` seconds ago.

    Idempotent. Does not change the days' attempts or batches, which are history.
    """
    why = f"the target table {table} was missing"
    error = f"{why}: the rows of this day are lost; sync the day again"
    cursor.execute(_INVALIDATE, {"dataset": dataset, "error": error, "ago": ago})
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a function's result
    days, first, last = row
    if days:
        what = f"the rows of {days} days, from {first} to {last}, are lost"
        corrections.write(cursor, Correction(what, why, dataset, run_id=run_id))
