"""Checks on individual days: which have unusually few rows, and which failed or are missing.

Does not decide when to check or whether to warn: see `orchestration/checks.py` and `schedule.py`.
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import SmallDay

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_MIN_PEERS = 7
_SQL = named_sql.load(__package__, "day_checks.sql")


def small_days(
    cursor: "Cursor", dataset: str, days: Sequence[date], fraction: float
) -> list[SmallDay]:
    """Return which of `days` have fewer rows than `fraction` of the baseline.

    The baseline is the median of the preceding 28 days. A day is not returned if fewer than seven
    of those 28 days are synced.
    """
    values = {"dataset": dataset, "days": list(days), "fraction": fraction, "min_peers": _MIN_PEERS}
    cursor.execute(_SQL["small_days"], values)
    return [SmallDay(*row) for row in cursor.fetchall()]


def missed_days(
    cursor: "Cursor", dataset: str, triggered_by: str, before: date
) -> tuple[date | None, int]:
    """Return the first unsynced day between the last day that the schedule requested and `before`,
    and how many such days there are; (None, 0) if there are none or it never requested a day."""
    values = {"dataset": dataset, "triggered_by": triggered_by, "before": before}
    cursor.execute(_SQL["missed_days"], values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  an aggregate
    return row[0], row[1]


def failed_or_missing_days(
    cursor: "Cursor", dataset: str, first: date, last: date
) -> dict[date, str | None]:
    """Return the days whose latest attempt failed, with that attempt's batch key, and the days
    without an attempt."""
    values = {"dataset": dataset, "first": first, "last": last}
    cursor.execute(_SQL["failed_or_missing_days"], values)
    return dict(cursor.fetchall())
