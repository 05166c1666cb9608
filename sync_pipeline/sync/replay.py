"""`replay`: load quarantined rows again, after the rows or the table have been fixed.

A day's rows are loaded in one transaction, under the day's lock; the same transaction updates the
day's record. A row that is still rejected, or belongs to another day, remains in quarantine with
the new error. Does not quarantine rows: see `targets/quarantine.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import TargetError, one_line
from sync_pipeline.settings import Settings
from sync_pipeline.targets import one_row, open_target, quarantine
from sync_pipeline.targets.day_of_row import DayOfRow
from sync_pipeline.targets.postgres import Target
from sync_pipeline.targets.quarantine import QuarantinedRow
from sync_pipeline.targets.row_by_row import describe_error
from sync_pipeline.tracking.worker.tracker import Tracker

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_NOT_LOADED = (
    "the day has no rows in the target according to its record, or the record cannot be read; sync "
    "the day again to read its rows from the source"
)


@dataclass(frozen=True)
class ReplayResult:
    """The result of replaying one day: the number of rows loaded, the number of rows kept in
    quarantine, and the error for the first row kept."""

    day: date
    loaded: int
    kept: int
    error: str | None


def replay(
    dataset: Dataset, settings: Settings, tracker: Tracker, day: date | None = None
) -> Iterator[ReplayResult]:
    """Load the quarantined rows of `day`, or of all days of `dataset`; yield each day's result.

    A day that has no rows in the target according to its record is not changed, and its result says
    so. Raises TargetError, or DayLockedError if a day's lock cannot be acquired in time.
    """
    with closing(open_target(dataset, settings, f"replay {dataset.name}")) as connection:
        for one in _days(connection, dataset, day):
            yield _replay_day(connection, dataset, tracker, one)


def _days(connection: "Connection", dataset: Dataset, day: date | None) -> list[date]:
    with connection, connection.cursor() as cursor:
        if not quarantine.prepare(cursor, create=False):
            return []
        return quarantine.get_days(cursor, dataset.name, day)


def _replay_day(
    connection: "Connection", dataset: Dataset, tracker: Tracker, day: date
) -> ReplayResult:
    target = Target(connection, dataset)
    target.begin_day(day)
    # Read while the day's lock is held, so that the state does not change before the commit.
    loaded = (tracker.loaded_days(dataset.name, [day]) or {}).get(day)
    try:
        with connection.cursor() as cursor:
            rows = quarantine.get_rows(cursor, dataset.name, day)
            if loaded is None:
                connection.rollback()
                return ReplayResult(day, 0, len(rows), _NOT_LOADED)
            errors = _load_all(cursor, dataset, day, rows)
            in_target = tracker.in_target
            if in_target:
                tracker.record_replay_in(cursor, loaded, len(errors))
        target.commit(day)
    except psycopg2.Error as error:
        connection.rollback()
        raise TargetError(
            f"dataset {dataset.name}: cannot load the quarantined rows of {day}: {one_line(error)}"
        ) from error
    if not in_target:
        tracker.record_replay(dataset.name, loaded, len(errors))
    return ReplayResult(day, len(rows) - len(errors), len(errors), errors[0] if errors else None)


def _load_all(
    cursor: "Cursor", dataset: Dataset, day: date, rows: Sequence[QuarantinedRow]
) -> list[str]:
    """Load the quarantined rows of a day; return the errors of those that are rejected again."""
    day_of_row = DayOfRow(cursor, dataset, day)
    results = [_load(cursor, dataset, day_of_row, row) for row in rows]
    return [error for error in results if error is not None]


def _load(
    cursor: "Cursor", dataset: Dataset, day_of_row: DayOfRow, row: QuarantinedRow
) -> str | None:
    """Load a row; return the error if it is rejected."""
    cursor.execute("SAVEPOINT one_row")
    try:
        values = row.values()
        day_of_row.check(values)
        one_row.insert(cursor, dataset, values)
    except (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError) as error:
        text = describe_error(error)
    except ValueError as error:  # raised by psycopg2 for a NUL character
        text = str(error)
    else:
        cursor.execute("RELEASE SAVEPOINT one_row")
        quarantine.delete(cursor, row)
        return None
    cursor.execute("ROLLBACK TO SAVEPOINT one_row; RELEASE SAVEPOINT one_row")
    quarantine.update_error(cursor, row, text)
    return f"row {row.number}: {text}"
