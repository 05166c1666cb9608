"""The outbox: a table in the target database that lists outcomes of days not yet recorded.

If the tracking tables are in another database or are unavailable, a day is recorded after its
commit. The transaction that loads the day adds its outcome to the outbox, so that the reconciler
can record it if the worker dies in between; a failure that cannot be recorded is added as well. A
worker removes the outcomes that it has recorded, so the outbox is usually almost empty. Does not
record the outcomes: see `orchestration/recovery/target_cleanup.py`.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.database import named_sql
from sync_pipeline.errors import one_line
from sync_pipeline.tracking.models import DayOutcome

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "outbox.sql")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutboxEntry:
    """An outcome in the outbox, and when the day ended (`time.monotonic()` of this process)."""

    id: int
    outcome: DayOutcome
    ended_at: float


class Outbox:
    """One worker's access to the outbox. Adds nothing without a run ID, which the reconciler
    needs."""

    def __init__(self, run_id: str | None, logger: logging.Logger) -> None:
        self._run_id = run_id
        self._logger = logger
        self._table_exists = False
        self._disabled = run_id is None
        self._added: list[int] = []  # in the open transaction
        self._kept: list[int] = []  # committed, but not recorded yet
        self._recorded: list[int] = []

    def add(self, cursor: "Cursor", outcome: DayOutcome) -> None:
        """Add an outcome in the caller's transaction, and remove recorded ones.

        On an error, rolls back to a savepoint, logs a warning once, and adds nothing from then on.
        """
        self._added = []
        if self._disabled:
            return
        values = {
            "ids": self._recorded,
            "run_id": self._run_id,
            "outcome": json.dumps(outcome.as_json()),
        }
        try:
            cursor.execute("SAVEPOINT outbox")
            self._create_table(cursor)
            cursor.execute(f"{_SQL['remove']}; {_SQL['add']}", values)
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

    def add_alone(self, connection: "Connection", outcome: DayOutcome) -> None:
        """Add an outcome that cannot be recorded now, in its own transaction. `connection` has no
        open transaction.

        If the target is unavailable too, the outcome is only kept in the worker's memory.
        """
        try:
            with connection, connection.cursor() as cursor:
                self.add(cursor, outcome)
            self.mark_committed()
        except psycopg2.Error as error:
            self._logger.debug("could not add to the outbox: %s", one_line(error))

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
        """Note that all outcomes in the outbox have been recorded."""
        self._recorded += self._kept
        self._kept = []

    def remove_recorded(self, connection: "Connection") -> None:
        """Remove the recorded outcomes in a separate transaction.

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


def entries(cursor: "Cursor") -> list[OutboxEntry]:
    """Return all outcomes in the outbox, in the order in which they were added.

    An entry that cannot be parsed is logged and left out.
    """
    cursor.execute(_SQL["table_exists"])
    if cursor.fetchone() != (True,):
        return []
    cursor.execute(_SQL["entries"])
    found: list[OutboxEntry] = []
    now = time.monotonic()
    for id_, outcome, ended_ago in cursor.fetchall():
        try:
            found.append(OutboxEntry(id_, DayOutcome.from_json(outcome), now - ended_ago))
        except (KeyError, TypeError, ValueError):
            _logger.exception("entry %s of sync_outbox has an unknown format and is ignored", id_)
    return found


def remove(cursor: "Cursor", ids: Sequence[int]) -> None:
    """Remove recorded outcomes, given the IDs of their entries."""
    cursor.execute(_SQL["remove"], {"ids": list(ids)})
