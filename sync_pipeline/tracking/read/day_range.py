"""Query the attempts for some of a batch's days, so that the page can refresh only those days.

Does not return the attempts of a whole batch: see `history.py`.
"""

from datetime import date
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.read.history import AttemptRow

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "day_range.sql")


def attempts(cursor: "Cursor", batch_id: int, first: date, last: date) -> list[AttemptRow]:
    """Return a batch's attempts for the days from `first` to `last`, oldest day first."""
    values = {"id": batch_id, "first": first, "last": last}
    cursor.execute(_SQL["attempts_in_range"], values)
    return [AttemptRow(*row) for row in cursor.fetchall()]
