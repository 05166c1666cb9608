"""The outbox: days that are in and not recorded yet, kept at the target in the load's transaction.

Where the records live in another database, or cannot be written just then, they follow the commit.
A worker that dies in between leaves its day here, and the reconciler records it: whatever is
committed is found. A worker removes what it has recorded by itself, so that the outbox is all but
empty at any time.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.database import named_sql
from sync_pipeline.errors import one_line
from sync_pipeline.tracking.models import BegunDay, DayCounts, NewBatch
from sync_pipeline.tracking.worker import batch_json

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "outbox.sql")


@dataclass(frozen=True)
class Entry:
    """A day that is in. `number` is its attempt's, None if none could be begun; times are the
    target's."""

    id: int
    dataset: str
    day: date
    run_id: str
    number: int | None
    batch: NewBatch | None
    counts: DayCounts
    started_at: datetime
    ended_at: datetime


class Outbox:
    """One worker's hold on it. A run without an id leaves nothing: nobody could find it."""

    def __init__(self, run_id: str | None, logger: logging.Logger) -> None:
        self._run_id = run_id
        self._logger = logger
        self._there = False
        self._refused = False
        self._added: list[int] = []  # in the transaction at hand
        self._kept: list[int] = []  # committed, and not known to be recorded
        self._recorded: list[int] = []

    def add(self, cursor: "Cursor", day: BegunDay, counts: DayCounts) -> None:
        """Keep a day in the transaction of `cursor`, which loads it, and remove what is recorded.

        A failure leaves the transaction as it was, and is logged once.
        """
        self._added = []
        if self._run_id is None or self._refused:
            return
        try:
            cursor.execute("SAVEPOINT outbox")
            self._make(cursor)
            cursor.execute(_SQL["remove"] + ";" + _SQL["add"], self._values(day, counts))
            row = cursor.fetchone()
            assert row is not None  # noqa: S101  RETURNING of one row
            self._added = [row[0]]
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT outbox")
            self._refused = True
            self._logger.warning(
                "table sync_outbox of the target cannot be written: should this worker be killed "
                "right after a commit, the day may be recorded as failed although it is in: %s",
                one_line(error),
            )

    def has_latest(self, cursor: "Cursor") -> bool:
        """Return whether what the latest `add` kept is there: its transaction was committed."""
        if not self._added:
            return False
        cursor.execute(_SQL["has"], {"ids": self._added})
        return cursor.fetchone() == (True,)

    def committed(self) -> None:
        """Note that the transaction of the latest `add` was committed."""
        self._there = self._there or bool(self._added)
        self._kept += self._added
        self._added, self._recorded = [], []

    def recorded(self) -> None:
        """Note that all days that were committed are recorded."""
        self._recorded += self._kept
        self._kept = []

    def clear(self, connection: "Connection") -> None:
        """Remove what is recorded, in a transaction of its own. If that fails, the reconciler
        does it."""
        if not self._recorded:
            return
        try:
            with connection, connection.cursor() as cursor:
                remove(cursor, self._recorded)
        except psycopg2.Error as error:
            self._logger.debug("the outbox was not cleared: %s", one_line(error))
        self._recorded = []

    def _make(self, cursor: "Cursor") -> None:
        if not self._there:
            cursor.execute(_SQL["is_there"])
            if cursor.fetchone() != (True,):
                cursor.execute(_SQL["make"])

    def _values(self, day: BegunDay, counts: DayCounts) -> dict[str, object]:
        return {
            "ids": self._recorded,
            "dataset": day.dataset,
            "day": day.day,
            "run_id": self._run_id,
            "number": day.attempt.number if day.attempt else None,
            "batch": json.dumps(batch_json.to_json(day.batch)) if day.batch else None,
            "seconds": time.monotonic() - day.since,
            **asdict(counts),
        }


def entries(cursor: "Cursor") -> list[Entry]:
    """Return all days that are kept, in the order in which they were loaded."""
    cursor.execute(_SQL["is_there"])
    if cursor.fetchone() != (True,):
        return []
    cursor.execute(_SQL["all"])
    return [
        Entry(
            id=row[0],
            dataset=row[1],
            day=row[2],
            run_id=row[3],
            number=row[4],
            batch=None if row[5] is None else batch_json.from_json(row[1], row[5]),
            counts=DayCounts(*row[6:10]),
            started_at=row[10],
            ended_at=row[11],
        )
        for row in cursor.fetchall()
    ]


def remove(cursor: "Cursor", ids: Sequence[int]) -> None:
    """Remove days that are recorded."""
    cursor.execute(_SQL["remove"], {"ids": list(ids)})
