"""Read complete records, by ID or by change number, and the attempts of a record.

Does not filter or sort records: see `listing.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

MAX_ATTEMPTS = 1000
# A change may become visible up to this long after a change with a higher number, because a worker
# may wait this long for a lock on the tables.
_OVERLAP_SECONDS = 30

_SQL = named_sql.load(__package__, "history.sql")


@dataclass(frozen=True)
class Record:
    """A row of `daily_sync_status`. The last five fields show a batch's progress; they are None for
    a day."""

    id: int
    sync_date: date
    status: str
    total_records: int
    success_count: int
    failed_count: int
    remarks: str | None
    error_message: str | None
    start_time: datetime
    end_time: datetime | None
    duration_seconds: int | None
    dataset: str
    kind: str
    batch_key: str | None
    start_date: date
    end_date: date
    total_days: int
    skipped_count: int
    attempt: int
    run_id: str | None
    triggered_by: str | None
    heartbeat_at: datetime | None
    already_synced: str | None
    retried_at: datetime | None
    cancelled_by: str | None
    standing_rows: int | None
    standing_since: datetime | None
    warning: str | None
    created_at: datetime
    updated_at: datetime
    change: int
    done_days: int | None
    percent: float | None
    rows_per_second: float | None
    eta_seconds: float | None
    elapsed_seconds: float | None


@dataclass(frozen=True)
class AttemptRow:
    """A row of `sync_attempt`."""

    id: int
    sync_date: date
    state: str
    attempt: int | None
    superseded: bool
    batch_id: int | None
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    bytes: int
    duration_seconds: float | None
    error_message: str | None
    run_id: str | None
    triggered_by: str | None
    started_at: datetime | None
    ended_at: datetime | None


def query(text: str) -> str:
    """Return the SQL `text` with a `Record`'s columns and the join for its progress filled in."""
    return text.format(columns=_SQL["columns"], progress=_SQL["progress"])


def records(cursor: "Cursor", ids: Sequence[int]) -> list[Record]:
    """Return the existing records with these IDs, ordered by change number."""
    cursor.execute(query(_SQL["by_ids"]), {"ids": list(ids)})
    return sorted((Record(*row) for row in cursor.fetchall()), key=lambda record: record.change)


def record(cursor: "Cursor", record_id: int) -> Record | None:
    """Return the record with this ID, or None."""
    found = records(cursor, [record_id])
    return found[0] if found else None


def changed_after(cursor: "Cursor", after: int, limit: int) -> list[Record]:
    """Return at most `limit` records that may have changed since a client saw change `after`.

    Ordered by change number. Includes records that changed up to half a minute before that change,
    because they may have become visible later. The cost depends on the number of records returned,
    not on the size of the table.
    """
    values = {"after": after, "seconds": _OVERLAP_SECONDS, "limit": limit}
    cursor.execute(query(_SQL["changed_after"]), values)
    later = [Record(*row) for row in cursor.fetchall()]
    if len(later) >= limit:
        return later
    cursor.execute(query(_SQL["changed_late"]), values | {"limit": limit - len(later)})
    before = [Record(*row) for row in cursor.fetchall()]
    return sorted(before, key=lambda record: record.change) + later


def latest_change(cursor: "Cursor") -> int:
    """Return the highest visible change number, or 0 if there are no records."""
    cursor.execute(_SQL["latest_change"])
    row = cursor.fetchone()
    return 0 if row is None else int(row[0])


def days_of(cursor: "Cursor", batch: Record) -> list[AttemptRow]:
    """Return the current attempt for each day of a batch, oldest day first."""
    cursor.execute(_SQL["days_of_batch"], {"id": batch.id})
    return [AttemptRow(*row) for row in cursor.fetchall()]


def attempts_of(cursor: "Cursor", owner: Record) -> list[AttemptRow]:
    """Return the attempts in a batch, or all attempts for a day, depending on the record's kind.

    Newest first, and at most `MAX_ATTEMPTS`. If a batch has more, superseded attempts take
    precedence over current ones, because `days_of` returns the latter.
    """
    name = "attempts_of_batch" if owner.kind == "batch" else "attempts_of_day"
    values = {
        "id": owner.id,
        "dataset": owner.dataset,
        "day": owner.sync_date,
        "limit": MAX_ATTEMPTS,
    }
    cursor.execute(_SQL[name], values)
    return [AttemptRow(*row) for row in cursor.fetchall()]
