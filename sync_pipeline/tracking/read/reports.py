"""Batches with their progress, and the days of a batch, for the command line and Dagster.

Does not list or filter records for the API: see `listing.py`.
"""

from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import AttemptState, BatchProgress

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "reports.sql")


@dataclass(frozen=True)
class DayOfBatch:
    """A day of a batch with the values of its current attempt."""

    sync_date: date
    state: AttemptState
    attempt: int | None
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    bytes: int
    duration_seconds: float | None
    error_message: str | None
    run_id: str | None


def progress(cursor: "Cursor", batch: str) -> BatchProgress | None:
    """Return the batch with this record ID or batch key, or None."""
    if batch.isascii() and batch.isdigit() and len(batch) < 19:
        cursor.execute(_SQL["progress"], {"id": int(batch)})
        found = _progress_rows(cursor)
        if found:
            return found[0]
    cursor.execute(_SQL["progress_by_key"], {"batch_key": batch})
    found = _progress_rows(cursor)
    return found[0] if found else None


def recent_batches(cursor: "Cursor", limit: int) -> list[BatchProgress]:
    """Return the `limit` latest batches, newest first."""
    cursor.execute(_SQL["recent_batches"], {"limit": limit})
    return _progress_rows(cursor)


def days_of_batch(cursor: "Cursor", batch_id: int) -> list[DayOfBatch]:
    """Return each day of the batch with its current attempt, oldest day first."""
    cursor.execute(_SQL["days_of_batch"], {"id": batch_id})
    return [DayOfBatch(row[0], AttemptState(row[1]), *row[2:]) for row in cursor.fetchall()]


def _progress_rows(cursor: "Cursor") -> list[BatchProgress]:
    names = [column.name for column in cursor.description or ()]
    wanted = [field.name for field in fields(BatchProgress)]
    return [_progress(dict(zip(names, row, strict=True)), wanted) for row in cursor.fetchall()]


def _progress(row: dict[str, Any], wanted: list[str]) -> BatchProgress:
    for name in ("percent", "elapsed_seconds", "rows_per_second", "eta_seconds"):
        row[name] = None if row[name] is None else float(row[name])
    return BatchProgress(**{name: row[name] for name in wanted})
