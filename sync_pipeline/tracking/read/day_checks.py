"""Checks on individual days: their rows and warnings, and which failed, are missing or were missed.

Does not decide what is unusual or what to do: see `sync/volume.py` and `orchestration/schedule.py`.
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "day_checks.sql")


def rows_of_days(cursor: "Cursor", dataset: str, first: date, last: date) -> dict[date, int]:
    """Return how many rows the target has for each loaded day from `first` to `last`."""
    cursor.execute(_SQL["rows_of_days"], {"dataset": dataset, "first": first, "last": last})
    return dict(cursor.fetchall())


def warnings(cursor: "Cursor", dataset: str, days: Sequence[date]) -> dict[date, str]:
    """Return those of `days` whose records have a warning, such as unusually few rows."""
    cursor.execute(_SQL["warnings"], {"dataset": dataset, "days": list(days)})
    return dict(cursor.fetchall())


def latest_requested_days(
    cursor: "Cursor", dataset: str, triggered_by: str
) -> tuple[date, date] | None:
    """Return the first and the last day of the latest days that `triggered_by` requested, or None
    if it never requested any."""
    values = {"dataset": dataset, "triggered_by": triggered_by}
    cursor.execute(_SQL["latest_requested_days"], values)
    row = cursor.fetchone()
    return None if row is None else (row[0], row[1])


def first_unsynced_day(cursor: "Cursor", dataset: str, first: date, last: date) -> date | None:
    """Return the first day from `first` to `last` that is not synced, or None."""
    values = {"dataset": dataset, "first": first, "last": last}
    cursor.execute(_SQL["first_unsynced_day"], values)
    row = cursor.fetchone()
    return None if row is None else row[0]


def failed_or_missing_days(
    cursor: "Cursor", dataset: str, first: date, last: date
) -> dict[date, str | None]:
    """Return the days whose latest attempt failed, with that attempt's batch key, and the days
    without an attempt."""
    values = {"dataset": dataset, "first": first, "last": last}
    cursor.execute(_SQL["failed_or_missing_days"], values)
    return dict(cursor.fetchall())
