"""The outbox: a table in the target database that lists committed days not yet recorded.

If the tracking tables are in another database or are unavailable, a day is recorded after its
commit. The transaction that loads the day adds it to the outbox, so that the reconciler can record
it if the worker dies in between. A worker removes the days that it has recorded, so the outbox is
usually almost empty. Does not record the days it contains: see
`orchestration/recovery/target_cleanup.py`.
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
from sync_pipeline.tracking.models import DayCounts, NewBatch, StartedDay
from sync_pipeline.tracking.worker import batch_json

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "outbox.sql")


@dataclass(frozen=True)
class OutboxEntry:
    """A committed day. `number` is the attempt's number, or None if its start could not be
    recorded. Times are from the target database's clock."""

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
    """One worker's access to the outbox. Adds nothing if there is no run ID, because the reconciler
    needs one."""

    def __init__(self, run_id: str | None, logger: logging.Logger) -> None:
        self._run_id = run_id
        self._logger = logger
        self._table_exists = False
        self._disabled = False
        self._added: list[int] = []  # in the open transaction
        self._kept: list[int] = []  # committed, but not recorded yet
        self._recorded: list[int] = []

    def add(self, cursor: "Cursor", day: StartedDay, counts: DayCounts) -> None:
        """Add a day in the transaction that loads it (`cursor`), and remove recorded days.

        On an error, rolls back to a savepoint, logs a warning once, and adds nothing from then on.
        """
        self._added = []
        if self._run_id is None or self._disabled:
            return
        try:
            cursor.execute("SAVEPOINT outbox")
            self._create_table(cursor)
            cursor.execute(_SQL["remove"] + ";" + _SQL["add"], self._values(day, counts))
            row = cursor.fetchone()
            assert row is not None  # noqa: S101  INSERT … RETURNING
            self._added = [row[0]]
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT outbox")
            self._disabled = True
            self._logger.warning(
                "cannot write to table sync_outbox in the target database; if this worker is "
                "killed right after a commit, the day may be recorded as failed although it is "
                "synced: %s",
                one_line(error),
            )

    def latest_was_committed(self, cursor: "Cursor") -> bool:
        """Return whether the transaction of the latest `add` was committed."""
        if not self._added:
            return False
        cursor.execute(_SQL["contains"], {"ids": self._added})
        return cursor.fetchone() == (True,)

    def mark_committed(self) -> None:
        """Note that the transaction of the latest `add` was committed."""
        self._table_exists = self._table_exists or bool(self._added)
        self._kept += self._added
        self._added, self._recorded = [], []

    def mark_recorded(self) -> None:
        """Note that all committed days have been recorded."""
        self._recorded += self._kept
        self._kept = []

    def remove_recorded(self, connection: "Connection") -> None:
        """Remove the recorded days in a separate transaction.

        If that fails, the reconciler removes them later.
        """
        if not self._recorded:
            return
        try:
            with connection, connection.cursor() as cursor:
                remove(cursor, self._recorded)
        except psycopg2.Error as error:
            self._logger.debug("could not clear the outbox: %s", one_line(error))
        self._recorded = []

    def _create_table(self, cursor: "Cursor") -> None:
        if not self._table_exists:
            cursor.execute(_SQL["table_exists"])
            if cursor.fetchone() != (True,):
                cursor.execute(_SQL["create_table"])

    def _values(self, day: StartedDay, counts: DayCounts) -> dict[str, object]:
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


def entries(cursor: "Cursor") -> list[OutboxEntry]:
    """Return all days in the outbox, in the order in which they were added."""
    cursor.execute(_SQL["table_exists"])
    if cursor.fetchone() != (True,):
        return []
    cursor.execute(_SQL["entries"])
    return [
        OutboxEntry(
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
    """Remove recorded days, given the IDs of their entries."""
    cursor.execute(_SQL["remove"], {"ids": list(ids)})
