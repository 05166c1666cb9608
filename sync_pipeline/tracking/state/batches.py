"""Batch records: opened once, then projected from their days.

A batch record says nothing of its own: its counts, status and remarks follow from the standing
attempts of its days. So any writer may refresh it, twice or out of order, and it comes out the
same. All functions work in the caller's transaction.
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
"""How the error of a day begins that nobody tried, because its batch broke off before it."""

_SQL = named_sql.load(__package__, "batches.sql")


def open_batch(cursor: "Cursor", new: NewBatch, *, ago: float = 0.0) -> Batch:
    """Open the record of a batch with all its days pending, or return the one already there.

    It began `ago` seconds before. Whoever comes first opens it; key and dataset are the identity.
    Raises ValueError for no days.
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
        assert batch is not None, "a conflicting row is committed and visible"  # noqa: S101
        if new.run_id is not None:
            cursor.execute(_SQL["name_run"], {"id": batch.id, "run_id": new.run_id})
        return batch
    plan(cursor, row[0], days, new)
    return _batch(row)


def plan(cursor: "Cursor", batch_id: int, days: Sequence[date], new: NewBatch) -> None:
    """Let these days of the batch wait, in the name of whoever asked for them."""
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
    besides: Sequence[str] = (),
) -> bool:
    """Let those of `days` wait again that had failed when the batch was asked for again, `before`.

    Return whether there were any; the record then is `syncing`. Doing it twice is doing it once:
    what fails from then on, or in the runs `besides`, is not taken up by the same request.
    """
    values: dict[str, Any] = {
        "batch_id": batch_id,
        "days": list(days),
        "before": before,
        "besides": list(besides),
    }
    cursor.execute(_SQL["supersede_failed_before"], values)
    failed = [day for (day,) in cursor.fetchall()]
    if failed:
        plan(cursor, batch_id, failed, new)
        cursor.execute(_SQL["take_up_again"], values)
        refresh(cursor, batch_id)
    return bool(failed)


def find_batch(cursor: "Cursor", batch_key: str, dataset: str) -> Batch | None:
    """Return the batch of `dataset` with this key, or None."""
    cursor.execute(_SQL["find_by_key"], {"batch_key": batch_key, "dataset": dataset})
    row = cursor.fetchone()
    return None if row is None else _batch(row)


def batches_with_key(cursor: "Cursor", batch_key: str) -> list[Batch]:
    """Return the batches with this key, one in each dataset it spans."""
    cursor.execute(_SQL["all_with_key"], {"batch_key": batch_key})
    return [_batch(row) for row in cursor.fetchall()]


def silent_batches(cursor: "Cursor", seconds: float) -> list[Batch]:
    """Return the batches that are syncing and were last written more than `seconds` ago."""
    cursor.execute(_SQL["silent_batches"], {"seconds": seconds})
    return [_batch(row) for row in cursor.fetchall()]


def open_batches(cursor: "Cursor") -> list[Batch]:
    """Return the batches that are still syncing, oldest first."""
    cursor.execute(_SQL["open_batches"])
    return [_batch(row) for row in cursor.fetchall()]


def states_of_days(cursor: "Cursor", batch_key: str, dataset: str) -> dict[date, AttemptState]:
    """Return how each day of a batch stands; nothing if there is no such batch. A day that it did,
    and whose rows are gone, is failed."""
    cursor.execute(_SQL["states_of_days"], {"batch_key": batch_key, "dataset": dataset})
    return {day: AttemptState(state) for day, state in cursor.fetchall()}


def refresh(cursor: "Cursor", batch_id: int) -> Counts | None:
    """Write what the batch's days say into its record; return the counts, None if it is gone.

    The record is locked first and the days are counted by a later statement, so that of two
    workers finishing at once the second sees the first one's day (READ COMMITTED). The lock is
    one that the foreign keys of new attempts do not wait for, so that two workers that both add
    an attempt and then refresh do not wait for each other.
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
    """Return what the batch's days say of its record, by column; None if it is gone."""
    cursor.execute(_SQL["count"], {"id": batch_id})
    found = _projection(cursor, batch_id)
    return None if found is None else found[1]


def _projection(cursor: "Cursor", batch_id: int) -> tuple[Counts, dict[str, Any]] | None:
    """Return the counts that were just asked for, and the record's values that follow from them."""
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
            broke_off=failures.broke_off,
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
    """Refresh each of these batches once, in one order, so that two callers cannot deadlock."""
    for batch_id in sorted({batch_id for batch_id in batch_ids if batch_id is not None}):
        refresh(cursor, batch_id)


def _closing_status(counts: Counts) -> RecordStatus:
    return RecordStatus.FAILED if counts.failed else RecordStatus.SUCCESS


def _closing_remarks(
    values: dict[str, Any], counts: Counts, failures: FailedDays | None, seconds: int
) -> str:
    if failures is not None and failures.broke_off is not None:
        return remarks.batch_failed(failures.broke_off)
    return remarks.batch_finished(values["start_date"], values["end_date"], counts, seconds)


def _failed_days(cursor: "Cursor", batch_id: int) -> FailedDays:
    cursor.execute(_SQL["failed_days"], {"id": batch_id, "not_run": NOT_RUN})
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  an aggregate always answers
    days, first_error, not_run, broke_off = row
    return FailedDays(
        days, first_error, not_run or [], broke_off and broke_off.removeprefix(NOT_RUN)
    )


def clock(cursor: "Cursor") -> datetime:
    """Return the database's time now."""
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
