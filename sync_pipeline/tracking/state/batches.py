"""Batch records: opened once, then computed from their days.

The counts, status and remarks of a batch are derived from the current attempts for its days, so any
writer may refresh the record, any number of times and in any order, with the same result. All
functions work in the caller's transaction. Does not change the state of a started day: see
`attempts.py`.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import (
    AttemptState,
    Batch,
    Counts,
    FailedDays,
    NewBatch,
    RecordStatus,
    middle_day,
)
from sync_pipeline.tracking.state import remarks

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

NOT_RUN = "not run: "
"""Prefix of the error of a day that was not run because its batch stopped first."""

_SQL = named_sql.load(__package__, "batches.sql")


def open_batch(cursor: "Cursor", new: NewBatch, *, ago: float = 0.0) -> Batch:
    """Open the record of a batch with all its days pending, or return the existing one.

    A new record's start time is `ago` seconds ago. The key and the dataset identify the batch.
    Raises ValueError if there are no days.
    """
    days = sorted(set(new.days))
    if not days:
        raise ValueError(f"batch {new.batch_key} has no days")
    start, end = days[0], days[-1]
    values: dict[str, Any] = {
        "sync_date": middle_day(start, end),
        "remarks": remarks.batch_opened(start, end, len(days)),
        "dataset": new.dataset,
        "batch_key": new.batch_key,
        "start_date": start,
        "end_date": end,
        "total_days": len(days),
        "run_id": new.run_id,
        "triggered_by": new.triggered_by,
        "ago": ago,
        "already_synced": "resync" if new.resync else "skip",
    }
    cursor.execute(_SQL["insert_batch"], values)
    row = cursor.fetchone()
    if row is None:
        batch = find_batch(cursor, new.batch_key, new.dataset)
        assert batch is not None, "the conflicting row is committed and visible"  # noqa: S101
        if new.run_id is not None:
            cursor.execute(_SQL["set_run"], {"id": batch.id, "run_id": new.run_id})
        return batch
    plan_days(cursor, row[0], days, new)
    return _batch(row)


def plan_days(cursor: "Cursor", batch_id: int, days: Sequence[date], new: NewBatch) -> None:
    """Add a pending attempt for each of these days, with the run and the user from `new`."""
    values: dict[str, Any] = {
        "batch_id": batch_id,
        "dataset": new.dataset,
        "days": list(days),
        "run_id": new.run_id,
        "triggered_by": new.triggered_by,
    }
    cursor.execute(_SQL["insert_pending_days"], values)


def retry_batch(
    cursor: "Cursor",
    batch_id: int,
    new: NewBatch,
    days: Sequence[date],
    before: datetime,
    *,
    except_runs: Sequence[str] = (),
) -> bool:
    """Reset to pending those of `days` that failed before the batch was requested again.

    `before` is the time of that request. Returns whether there were any such days; if so, the
    record is now `syncing`. Idempotent: days that failed later, or in one of `except_runs`, remain
    failed.
    """
    values: dict[str, Any] = {
        "batch_id": batch_id,
        "days": list(days),
        "before": before,
        "except_runs": list(except_runs),
    }
    cursor.execute(_SQL["supersede_failed_before"], values)
    failed = [day for (day,) in cursor.fetchall()]
    if failed:
        plan_days(cursor, batch_id, failed, new)
        cursor.execute(_SQL["retry_batch"], values)
        refresh(cursor, batch_id)
    return bool(failed)


def find_batch(cursor: "Cursor", batch_key: str, dataset: str) -> Batch | None:
    """Return the batch of `dataset` with this key, or None."""
    cursor.execute(_SQL["find_by_key"], {"batch_key": batch_key, "dataset": dataset})
    row = cursor.fetchone()
    return None if row is None else _batch(row)


def batches_with_key(cursor: "Cursor", batch_key: str) -> list[Batch]:
    """Return the batches with this key, one per dataset."""
    cursor.execute(_SQL["all_with_key"], {"batch_key": batch_key})
    return [_batch(row) for row in cursor.fetchall()]


def silent_batches(cursor: "Cursor", seconds: float) -> list[Batch]:
    """Return the batches that are syncing and were last updated more than `seconds` ago."""
    cursor.execute(_SQL["silent_batches"], {"seconds": seconds})
    return [_batch(row) for row in cursor.fetchall()]


def open_batches(cursor: "Cursor") -> list[Batch]:
    """Return the batches that are still syncing, oldest first."""
    cursor.execute(_SQL["open_batches"])
    return [_batch(row) for row in cursor.fetchall()]


def day_states(cursor: "Cursor", batch_key: str, dataset: str) -> dict[date, AttemptState]:
    """Return the state of each day of a batch; empty if there is no such batch.

    A day whose rows were lost after the batch synced it counts as failed.
    """
    cursor.execute(_SQL["day_states"], {"batch_key": batch_key, "dataset": dataset})
    return {day: AttemptState(state) for day, state in cursor.fetchall()}


def refresh(cursor: "Cursor", batch_id: int) -> Counts | None:
    """Update a batch's record from its days; return the counts, or None if there is no record.

    Locks the record and then counts the days in a second statement, so that if two workers finish
    at the same time, the second one sees the first one's day (READ COMMITTED). The lock is only NO
    KEY UPDATE, so the foreign-key check of a new attempt does not wait for it. Otherwise, two
    workers that each add an attempt and then refresh would deadlock.
    """
    # Two statements in one round trip: the second sees what was committed while the first waited.
    cursor.execute(f"{_SQL['lock']}; {_SQL['count']}", {"id": batch_id})
    found = _projection(cursor, batch_id)
    if found is None:
        return None
    counts, values = found
    cursor.execute(_SQL["project"], values)
    return counts


def projection(cursor: "Cursor", batch_id: int) -> dict[str, Any] | None:
    """Return a batch record's column values, computed from its days, or None if there is no
    record."""
    cursor.execute(_SQL["count"], {"id": batch_id})
    found = _projection(cursor, batch_id)
    return None if found is None else found[1]


def _projection(cursor: "Cursor", batch_id: int) -> tuple[Counts, dict[str, Any]] | None:
    """Return the counts that the cursor has just queried, and the record's values by column."""
    row = cursor.fetchone()
    if row is None:
        return None
    start_time, end_time, start_date, end_date = row[:4]
    counts = Counts(*row[4:])
    values: dict[str, Any] = {
        "id": batch_id,
        **vars(counts),
        "sync_date": middle_day(start_date, end_date),
        "start_date": start_date,
        "end_date": end_date,
        "end_time": None,
        "duration_seconds": None,
    }
    failures = _failed_days(cursor, batch_id) if counts.failed else None
    if failures is None:
        values["error_message"] = None
    else:
        values["error_message"] = remarks.failed_days(
            failures.days,
            counts.total,
            failures.first_error,
            not_run=failures.not_run,
            stop_reason=failures.stop_reason,
        )
    if counts.done < counts.total:
        values["status"] = RecordStatus.SYNCING.value
        values["remarks"] = (
            remarks.batch_progress(counts)
            if counts.done
            else remarks.batch_opened(start_date, end_date, counts.total)
        )
    else:
        values["end_time"] = end_time or clock(cursor)
        seconds = max(0, int((values["end_time"] - start_time).total_seconds()))
        values["duration_seconds"] = seconds
        values["status"] = _closing_status(counts).value
        values["remarks"] = _closing_remarks(values, counts, failures, seconds)
    return counts, values


def refresh_all(cursor: "Cursor", batch_ids: Sequence[int | None]) -> None:
    """Refresh each of these batches once, ordered by ID so that two callers cannot deadlock."""
    for batch_id in sorted({batch_id for batch_id in batch_ids if batch_id is not None}):
        refresh(cursor, batch_id)


def _closing_status(counts: Counts) -> RecordStatus:
    return RecordStatus.FAILED if counts.failed else RecordStatus.SUCCESS


def _closing_remarks(
    values: dict[str, Any], counts: Counts, failures: FailedDays | None, seconds: int
) -> str:
    if failures is not None and failures.stop_reason is not None:
        return remarks.batch_failed(failures.stop_reason)
    return remarks.batch_finished(values["start_date"], values["end_date"], counts, seconds)


def _failed_days(cursor: "Cursor", batch_id: int) -> FailedDays:
    cursor.execute(_SQL["failed_days"], {"id": batch_id, "not_run": NOT_RUN})
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  an aggregate returns a row
    days, first_error, not_run, stop_reason = row
    return FailedDays(
        days, first_error, not_run or [], stop_reason and stop_reason.removeprefix(NOT_RUN)
    )


def clock(cursor: "Cursor") -> datetime:
    """Return the database's current time."""
    cursor.execute(_SQL["clock"])
    row = cursor.fetchone()
    assert row is not None  # noqa: S101
    now: datetime = row[0]
    return now


def _batch(row: tuple[Any, ...]) -> Batch:
    return Batch(
        id=row[0],
        batch_key=row[1],
        dataset=row[2],
        status=RecordStatus(row[3]),
        start_date=row[4],
        end_date=row[5],
        total_days=row[6],
    )
