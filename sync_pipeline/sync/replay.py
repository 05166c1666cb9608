"""Loading rows that were set aside, once what was wrong with them, or with the table, is mended.

A day's rows go in one transaction, under the day's lock, together with the day's record; those of a
day that is not in wait until it is. A row that is still not taken, or belongs to another day, stays
where it is, with what was said this time.
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
from sync_pipeline.targets import one_row, open_target, rejected
from sync_pipeline.targets.day_of_row import RowDay
from sync_pipeline.targets.postgres import Target
from sync_pipeline.targets.rejected import KeptRow
from sync_pipeline.targets.row_by_row import said_of
from sync_pipeline.tracking.worker.tracker import Tracker

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_NOT_IN = (
    "the day's latest sync did not succeed, or its record cannot be read: sync the day again, "
    "which reads its rows anew"
)


@dataclass(frozen=True)
class Replayed:
    """What became of the rows kept of a day: how many are in now, how many stay, and what was said
    of the first of those."""

    day: date
    loaded: int
    kept: int
    error: str | None


def replay(
    dataset: Dataset, settings: Settings, tracker: Tracker, day: date | None = None
) -> Iterator[Replayed]:
    """Load the rows kept of `day`, or of every day of `dataset`; yield each day as it is done.

    A day that is not recorded as in is left as it is, and `error` says so. Raises TargetError, and
    DayLockedError if a worker holds the day for longer than it is waited.
    """
    with closing(open_target(dataset, settings, f"replay {dataset.name}")) as connection:
        for found in _days(connection, dataset, day):
            yield _replay_day(connection, dataset, tracker, found)


def _days(connection: "Connection", dataset: Dataset, day: date | None) -> list[date]:
    with connection, connection.cursor() as cursor:
        if not rejected.prepare(cursor, make=False):
            return []
        return rejected.days(cursor, dataset.name, day)


def _replay_day(
    connection: "Connection", dataset: Dataset, tracker: Tracker, day: date
) -> Replayed:
    target = Target(connection, dataset)
    target.begin_day(day)
    # Under the day's lock, so that it stays the latest until the commit.
    synced = tracker.synced_days(dataset.name, [day]).get(day)
    try:
        with connection.cursor() as cursor:
            rows = rejected.of_day(cursor, dataset.name, day)
            if synced is None:
                connection.rollback()
                return Replayed(day, 0, len(rows), _NOT_IN)
            errors = _load_all(cursor, dataset, day, rows)
            if tracker.in_target:
                tracker.replayed_in(cursor, synced, len(errors))
        target.commit(day)
    except psycopg2.Error as error:
        connection.rollback()
        raise TargetError(
            f"dataset {dataset.name}: cannot load the rows kept of {day}: {one_line(error)}"
        ) from error
    if not tracker.in_target:
        tracker.replayed(dataset.name, synced, len(errors))
    return Replayed(day, len(rows) - len(errors), len(errors), errors[0] if errors else None)


def _load_all(cursor: "Cursor", dataset: Dataset, day: date, rows: Sequence[KeptRow]) -> list[str]:
    """Load rows kept of a day; return what was said of those that are not taken."""
    row_day = RowDay(cursor, dataset, day)
    said = [_load(cursor, dataset, row_day, row) for row in rows]
    return [error for error in said if error is not None]


def _load(cursor: "Cursor", dataset: Dataset, row_day: RowDay, row: KeptRow) -> str | None:
    """Load a row; return what was said if it is not taken."""
    cursor.execute("SAVEPOINT one_row")
    try:
        values = row.values()
        row_day.check(values)
        one_row.insert(cursor, dataset, values)
    except (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError) as error:
        said = said_of(error)
    except ValueError as error:  # the driver's, for a NUL
        said = str(error)
    else:
        cursor.execute("RELEASE SAVEPOINT one_row")
        rejected.remove(cursor, row)
        return None
    cursor.execute("ROLLBACK TO SAVEPOINT one_row; RELEASE SAVEPOINT one_row")
    rejected.say(cursor, row, said)
    return f"row {row.number}: {said}"
