"""Batch records: opened once, then computed from their days.

All changes are made by the functions in `database/functions.sql`, in the caller's transaction. A
batch's record is derived from the current attempts for its days, so any writer may compute it, any
number of times and in any order, with the same result. Does not change started days: see
`attempts.py`.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import AttemptState, Batch, BatchSpec, RecordStatus

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "batches.sql")


def open_batch(cursor: "Cursor", spec: BatchSpec, *, ago: float = 0.0) -> int:
    """Open a batch's record with all its days pending, or join the existing record; return its ID.

    A new record's start time is `ago` seconds ago. The key and the dataset identify the batch.
    Raises ValueError if there are no days.
    """
    if not spec.days:
        raise ValueError(f"batch {spec.batch_key} has no days")
    values = vars(spec) | {"already_synced": spec.already_synced, "ago": ago}
    cursor.execute(_SQL["open_batch"], values)
    return _integer(cursor)


def retry_days(
    cursor: "Cursor",
    batch_id: int,
    spec: BatchSpec,
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
        "run_id": spec.run_id,
        "triggered_by": spec.triggered_by,
        "days": list(days),
        "before": before,
        "except_runs": list(except_runs),
    }
    cursor.execute(_SQL["retry_days"], values)
    return _integer(cursor) > 0


def mark_not_run(
    cursor: "Cursor",
    batch_id: int,
    error: str,
    days: Sequence[date] | None = None,
    *,
    run_id: str | None = None,
    planned_by: str | None = None,
    planned_before: datetime | None = None,
    ago: float = 0.0,
) -> int:
    """Mark a batch's unfinished days (those in `days`, or all) as not run, and compute its record;
    return the number of these days.

    The days fail with `error`, `ago` seconds ago; the error of a day that never started says that
    it was not run. With `run_id`, excludes days that another run has started. With `planned_by`,
    includes only days that this run has planned or started. With `planned_before`, excludes pending
    days that were planned after that time, when the batch was retried.
    """
    values: dict[str, Any] = {
        "batch_id": batch_id,
        "error": error,
        "days": None if days is None else list(days),
        "run_id": run_id,
        "planned_by": planned_by,
        "planned_before": planned_before,
        "ago": ago,
    }
    cursor.execute(_SQL["mark_not_run"], values)
    return _integer(cursor)


def project(cursor: "Cursor", batch_id: int) -> None:
    """Compute a batch's record from its days."""
    cursor.execute(_SQL["project"], {"batch_id": batch_id})


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


def _integer(cursor: "Cursor") -> int:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a function's result
    return int(row[0])


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
