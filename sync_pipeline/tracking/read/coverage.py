"""Which days of a dataset are in: every day of a range with its state."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "coverage.sql")


class DayState(str, Enum):
    """How a day stands. `EMPTY` is in, without a row; `REJECTED` is in, but for some rows;
    `OUTSIDE` is before the dataset's first day or after its last finished one."""

    SUCCESS = "success"
    EMPTY = "empty"
    REJECTED = "rejected"
    FAILED = "failed"
    SYNCING = "syncing"
    MISSING = "missing"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class CoveredDay:
    """A day and its record, if it has one; `rows` are those loaded."""

    day: date
    state: DayState
    rows: int | None = None
    rows_rejected: int | None = None
    duration_seconds: int | None = None
    end_time: datetime | None = None
    record_id: int | None = None
    error_message: str | None = None
    change: int | None = None


def coverage(
    cursor: "Cursor", dataset: str, first: date, last: date, of: tuple[date, date] | None
) -> list[CoveredDay]:
    """Return every day from `first` to `last`, oldest first; `of` are the dataset's own bounds."""
    values = {"dataset": dataset, "first": first, "last": last}
    cursor.execute(_SQL["days_of_dataset"], values)
    found = {row[0]: _covered(*row) for row in cursor.fetchall()}
    return [
        found.get(day) or CoveredDay(day, _state_without_record(day, of))
        for day in (first + timedelta(days=n) for n in range((last - first).days + 1))
    ]


def known_days(cursor: "Cursor", dataset: str) -> tuple[date, date] | None:
    """Return the first and the last day that a record of the dataset names, or None."""
    cursor.execute(_SQL["known_days"], {"dataset": dataset})
    row = cursor.fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


def synced_days(cursor: "Cursor", dataset: str, first: date, last: date) -> set[date]:
    """Return the days of a range that are in."""
    cursor.execute(_SQL["synced_days"], {"dataset": dataset, "first": first, "last": last})
    return {day for (day,) in cursor.fetchall()}


def _covered(
    day: date,
    status: str,
    rows: int,
    rejected: int,
    seconds: int | None,
    ended: datetime | None,
    record_id: int,
    error: str | None,
    change: int,
) -> CoveredDay:
    state = DayState(status)
    if state is DayState.SUCCESS:
        state = DayState.REJECTED if rejected else state if rows else DayState.EMPTY
    return CoveredDay(day, state, rows, rejected, seconds, ended, record_id, error, change)


def _state_without_record(day: date, of: tuple[date, date] | None) -> DayState:
    inside = of is not None and of[0] <= day <= of[1]
    return DayState.MISSING if inside else DayState.OUTSIDE
