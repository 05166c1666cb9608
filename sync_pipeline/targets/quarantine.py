"""Store in `sync_rejected_row` the rows that a target table rejects.

This table is in the target database, so that rejected rows are stored in the transaction that loads
the rest of their day; it is created when a dataset first needs it. Does not load the rows again:
see `sync/replay.py`.
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
_MAX_ERROR_CHARACTERS = 100
_SQL = named_sql.load(__package__, "quarantine.sql")


@dataclass(frozen=True)
class LoadContext:
    """The batch (if any) and the run that load a day. Stored with the day's quarantined rows."""

    batch_id: int | None = None
    run_id: str | None = None


def prepare(cursor: "Cursor", *, create: bool) -> bool:
    """Return whether the table of quarantined rows exists; if `create` is true, create it first."""
    exists = _exists(cursor)
    if create and not exists:
        lock_table(cursor, _TABLE)
        cursor.execute(_SQL["create"])
        return True
    return exists


def delete_day(cursor: "Cursor", dataset: str, day: date) -> None:
    """Delete the quarantined rows of a day that is being synced again."""
    cursor.execute(_SQL["delete_day"], {"dataset": dataset, "day": day})


@dataclass(frozen=True)
class QuarantinedRow:
    """A quarantined row: its number in the day, and its values as JSON, which users may correct."""

    id: int
    number: int
    json_text: str

    def values(self) -> dict[str, str | None]:
        """Return the values as text, keyed by column. Raises psycopg2.DataError if the JSON is not
        an object."""
        found = json.loads(self.json_text, parse_int=str, parse_float=str, parse_constant=str)
        if not isinstance(found, dict) or not found:
            raise psycopg2.DataError(
                "its row_values are not a JSON object of values by column, such as "
                '{"id": "7", "day": "2025-10-01"}'
            )
        return {name: _text(value) for name, value in found.items()}


def get_days(cursor: "Cursor", dataset: str, day: date | None = None) -> list[date]:
    """Return the days that have quarantined rows, oldest first; check only `day` if given."""
    cursor.execute(_SQL["days"], {"dataset": dataset, "day": day})
    return [found for (found,) in cursor.fetchall()]


def get_rows(cursor: "Cursor", dataset: str, day: date) -> list[QuarantinedRow]:
    """Return the quarantined rows of a day in their original order."""
    cursor.execute(_SQL["rows"], {"dataset": dataset, "day": day})
    return [QuarantinedRow(*row) for row in cursor.fetchall()]


def delete(cursor: "Cursor", row: QuarantinedRow) -> None:
    """Delete a quarantined row that a replay has loaded."""
    cursor.execute(_SQL["delete"], {"id": row.id})


def update_error(cursor: "Cursor", row: QuarantinedRow, error: str) -> None:
    """Store the error for a row that a replay could not load."""
    cursor.execute(_SQL["update_error"], {"id": row.id, "error": error})


class Quarantine:
    """Stores the rejected rows of one day, up to the dataset's limit. `count` is their number."""

    def __init__(self, cursor: "Cursor", dataset: Dataset, day: date, context: LoadContext) -> None:
        self.count = 0
        self._cursor = cursor
        self._dataset = dataset
        self._day = day
        self._context = context

    def add(self, row: RejectedRow) -> None:
        """Store a row. Raises RejectedRowsError if `max_rejected_rows` is exceeded."""
        self.count += 1
        limit = self._dataset.target.max_rejected_rows
        if self.count > limit:
            raise RejectedRowsError(
                f"dataset {self._dataset.name}: {self._dataset.target.table} rejected more than "
                f"{limit} rows of {self._day} (last: {_describe(row)}); the day was rolled back. "
                "Correct the rows at the source, or increase max_rejected_rows"
            )
        self._cursor.execute(
            _SQL["insert"],
            {
                "dataset": self._dataset.name,
                "day": self._day,
                "row_number": row.number,
                "row_values": json.dumps(row.values, ensure_ascii=False),
                "error": row.error,
                "batch_id": self._context.batch_id,
                "run_id": self._context.run_id,
            },
        )


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _describe(row: RejectedRow) -> str:
    """Return the row's number and its error, truncated."""
    error = (
        row.error
        if len(row.error) <= _MAX_ERROR_CHARACTERS
        else f"{row.error[:_MAX_ERROR_CHARACTERS]}…"
    )
    return f"row {row.number}: {error}"


def _exists(cursor: "Cursor") -> bool:
    cursor.execute(_SQL["exists"])
    return cursor.fetchone() == (True,)
