"""What is asked about days night by night: which failed, and which are suddenly small."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import SmallDay

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_LEAST_PEERS = 7
_SQL = named_sql.load(__package__, "day_checks.sql")


def small_days(cursor: "Cursor", dataset: str, days: Sequence[date], part: float) -> list[SmallDay]:
    """Return those of `days` that have fewer rows than `part` of what is usual before them.

    Usual is the median of the 28 days before, if at least seven of them are in.
    """
    values = {"dataset": dataset, "days": list(days), "part": part, "least": _LEAST_PEERS}
    cursor.execute(_SQL["small_days"], values)
    return [SmallDay(*row) for row in cursor.fetchall()]


def failed_latest(
    cursor: "Cursor", dataset: str, first: date, last: date
) -> dict[date, str | None]:
    """Return the days whose latest attempt failed, or that have none, with its batch's key."""
    values = {"dataset": dataset, "first": first, "last": last}
    cursor.execute(_SQL["failed_latest"], values)
    return dict(cursor.fetchall())
