"""A dataset's coverage: every day in a range, with its state.

Does not return the attempts for a day: see `history.py`.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "coverage.sql")


class DayState(str, Enum):
    """The state of a day. `EMPTY` means synced with no rows; `REJECTED`, synced with quarantined
    rows; `RESYNC_FAILED`, synced, but the latest attempt to sync it again failed; `OUTSIDE`, before
    the dataset's first day or after its last finished day."""

    SUCCESS = "success"
    EMPTY = "empty"
    REJECTED = "rejected"
    RESYNC_FAILED = "resync_failed"
    FAILED = "failed"
    SYNCING = "syncing"
    MISSING = "missing"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class CoveredDay:
    """A day with values from its record, which are None if there is no record. `rows` is the number
    of rows that the latest attempt loaded. `standing_rows` is how many rows of the day the target
    contains since `standing_since`, whatever the latest attempt did."""

    day: date
    state: DayState
    rows: int | None = None
    rows_rejected: int | None = None
    duration_seconds: int | None = None
    end_time: datetime | None = None
    record_id: int | None = None
    error_message: str | None = None
    change: int | None = None
    standing_rows: int | None = None
    standing_since: datetime | None = None
    warning: str | None = None


def coverage(
    cursor: "Cursor", dataset: str, first: date, last: date, bounds: tuple[date, date] | None
) -> list[CoveredDay]:
    """Return every day from `first` to `last`, oldest first.

    `bounds` are the dataset's first day and its last finished day, or None if there is none.
    """
    values = {"dataset": dataset, "first": first, "last": last}
    cursor.execute(_SQL["days_of_dataset"], values)
    found = {row[0]: _covered(*row) for row in cursor.fetchall()}
    return [
        found.get(day) or CoveredDay(day, _state_without_record(day, bounds))
        for day in (first + timedelta(days=n) for n in range((last - first).days + 1))
    ]


def known_days(cursor: "Cursor", dataset: str) -> tuple[date, date] | None:
    """Return the first and last day in the dataset's records, or None if it has no records."""
    cursor.execute(_SQL["known_days"], {"dataset": dataset})
    row = cursor.fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


def synced_days(cursor: "Cursor", dataset: str, first: date, last: date) -> set[date]:
    """Return the synced days from `first` to `last`."""
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
    standing_rows: int | None,
    standing_since: datetime | None,
    warning: str | None,
) -> CoveredDay:
    state = DayState(status)
    if state is DayState.SUCCESS:
        state = DayState.REJECTED if rejected else state if rows else DayState.EMPTY
    elif state is DayState.FAILED and standing_since is not None:
        state = DayState.RESYNC_FAILED
    return CoveredDay(
        day,
        state,
        rows,
        rejected,
        seconds,
        ended,
        record_id,
        error,
        change,
        standing_rows,
        standing_since,
        warning,
    )


def _state_without_record(day: date, bounds: tuple[date, date] | None) -> DayState:
    inside = bounds is not None and bounds[0] <= day <= bounds[1]
    return DayState.MISSING if inside else DayState.OUTSIDE
