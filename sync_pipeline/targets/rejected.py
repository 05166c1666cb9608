"""Rows that a target table did not take, kept beside it in `sync_rejected_row`.

In the target database, so that they are kept in the transaction that loads the rest of their day.
The table is made when a dataset first asks for it.
"""

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.database import named_sql
from sync_pipeline.errors import RejectedRowsError
from sync_pipeline.targets.locks import lock_table
from sync_pipeline.targets.row_by_row import RejectedRow

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_TABLE = "sync_rejected_row"
_SHOWN_CHARACTERS = 100
_SQL = named_sql.load(__package__, "rejected.sql")


@dataclass(frozen=True)
class LoadedFor:
    """In whose name a day is loaded: the batch's record, if it is part of one, and the run."""

    batch_id: int | None = None
    run_id: str | None = None


def prepare(cursor: "Cursor", *, make: bool) -> bool:
    """Return whether the table for rejected rows is there, once it was made if it is to be."""
    there = _is_there(cursor)
    if make and not there:
        lock_table(cursor, _TABLE)
        cursor.execute(_SQL["make"])
        return True
    return there


def forget(cursor: "Cursor", dataset: str, day: date) -> None:
    """Remove what is kept of a day that is synced again."""
    cursor.execute(_SQL["forget"], {"dataset": dataset, "day": day})


@dataclass(frozen=True)
class KeptRow:
    """A row that is kept: its number in its day, and its values as JSON, which people mend."""

    id: int
    number: int
    written: str

    def values(self) -> dict[str, str | None]:
        """Return its values as text, by column. Raises psycopg2.DataError if that is not what is
        written."""
        found = json.loads(self.written, parse_int=str, parse_float=str, parse_constant=str)
        if not isinstance(found, dict) or not found:
            raise psycopg2.DataError(
                "its row_values are no JSON object of values by column, such as "
                '{"id": "7", "day": "2025-10-01"}'
            )
        return {name: _text(value) for name, value in found.items()}


def days(cursor: "Cursor", dataset: str, day: date | None = None) -> list[date]:
    """Return the days with rows kept, all or only `day`, oldest first."""
    cursor.execute(_SQL["days"], {"dataset": dataset, "day": day})
    return [found for (found,) in cursor.fetchall()]


def of_day(cursor: "Cursor", dataset: str, day: date) -> list[KeptRow]:
    """Return the rows kept of a day, in their order."""
    cursor.execute(_SQL["of_day"], {"dataset": dataset, "day": day})
    return [KeptRow(*row) for row in cursor.fetchall()]


def remove(cursor: "Cursor", row: KeptRow) -> None:
    """Remove a row that was loaded after all."""
    cursor.execute(_SQL["remove"], {"id": row.id})


def say(cursor: "Cursor", row: KeptRow, error: str) -> None:
    """Note why a row was not taken this time."""
    cursor.execute(_SQL["say"], {"id": row.id, "error": error})


class Rejected:
    """Keeps the rejected rows of one day, up to the dataset's limit. `count` says how many."""

    def __init__(
        self, cursor: "Cursor", dataset: Dataset, day: date, loaded_for: LoadedFor
    ) -> None:
        self.count = 0
        self._cursor = cursor
        self._dataset = dataset
        self._day = day
        self._for = loaded_for

    def keep(self, row: RejectedRow) -> None:
        """Keep a row. Raises RejectedRowsError at one more than the limit."""
        self.count += 1
        most = self._dataset.target.max_rejected_rows
        if self.count > most:
            raise RejectedRowsError(
                f"dataset {self._dataset.name}: more than {most} rows of {self._day} were not "
                f"taken by {self._dataset.target.table}, the last is {_said(row)}; the day was "
                "rolled back. Mend them at the source, or raise max_rejected_rows"
            )
        self._cursor.execute(
            _SQL["keep"],
            {
                "dataset": self._dataset.name,
                "day": self._day,
                "row_number": row.number,
                "row_values": json.dumps(row.values, ensure_ascii=False),
                "error": row.error,
                "batch_id": self._for.batch_id,
                "run_id": self._for.run_id,
            },
        )


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _said(row: RejectedRow) -> str:
    """Return which row was not taken and why, in a line."""
    error = (
        row.error if len(row.error) <= _SHOWN_CHARACTERS else f"{row.error[:_SHOWN_CHARACTERS]}…"
    )
    return f"row {row.number}: {error}"


def _is_there(cursor: "Cursor") -> bool:
    cursor.execute(_SQL["is_there"])
    return cursor.fetchone() == (True,)
