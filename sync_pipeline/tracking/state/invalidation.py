"""Days that were in, and whose rows went with their target table."""

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
    """Record that the days of a dataset that came in `before` then are in no more, because its
    target table was missing. Twice is as once.

    Their attempts and batches stay as they are: they tell what happened.
    """
    error = (
        f"the target table {table} was missing: the rows of this day are gone; sync the day again"
    )
    values = {
        "dataset": dataset,
        "before": before,
        "error": error,
        "remarks": remarks.day_failed(error),
    }
    cursor.execute(_SQL["days_are_gone"], values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a count without GROUP BY always answers
    days, first, last = row
    if days:
        what = f"{days} days, the first {first}, the last {last}, are recorded as in no more"
        why = f"the target table {table} was missing"
        corrections.write(cursor, Correction(what, why, dataset, run_id=run_id))
