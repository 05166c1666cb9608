"""Attempts (pending → syncing → success, failed or skipped) and the records of their days.

All functions work in the caller's transaction. They lock rows in this order: day record, attempt,
batch record (several batches by ID), so that two workers cannot deadlock. Does not compute a
batch's record: see `batches.py`. Does not record what happened during an outage: see
`late_results.py`.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sync_pipeline.database import named_sql
from sync_pipeline.errors import BatchCancelledError, DayDoneError, SupersededError
from sync_pipeline.tracking.models import (
    Attempt,
    AttemptState,
    DayCounts,
    FailedAttempt,
    SyncedDay,
    UnreportedDay,
)
from sync_pipeline.tracking.state import batches, remarks

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "attempts.sql")


def begin(
    cursor: "Cursor",
    dataset: str,
    day: date,
    *,
    batch_id: int | None,
    run_id: str | None,
    triggered_by: str | None,
    after: FailedAttempt | None = None,
    resync: bool = True,
) -> Attempt:
    """Start an attempt for a day whose lock the caller holds; return it with its number.

    Raises DayDoneError if the day was synced by an attempt of the batch or, unless `resync`, by any
    attempt, and BatchCancelledError if the batch was cancelled. An earlier attempt that is still
    `syncing` has lost the lock and is closed as failed; so is the caller's previous attempt
    `after`, with its own error. In the batch's counts, the new attempt replaces an earlier one for
    the same day.
    """
    values: dict[str, Any] = {
        "dataset": dataset,
        "day": day,
        "batch_id": batch_id,
        "run_id": run_id,
        "triggered_by": triggered_by,
        "remarks": remarks.day_started(day),
        "after": None if after is None else after.attempt.id,
        "after_error": None if after is None else after.error,
        "resync": resync,
    }
    cursor.execute(_SQL["begin_day_record"], values)
    row = cursor.fetchone()
    if row is None:
        raise DayDoneError(f"dataset {dataset}: {day} is already synced")
    record_id, number = row
    values["number"] = number
    # In a separate statement, which sees attempts that were committed while the first statement
    # waited for the record's lock.
    cursor.execute(_SQL["end_lost_attempts"], values)
    batches_of_lost = [lost for (lost,) in cursor.fetchall()]
    attempt_id, is_retry = _begin_attempt(cursor, values)
    # If the batch was already closed with this day as failed, it is reopened.
    batches.refresh_all(cursor, [*batches_of_lost, batch_id if is_retry else None])
    return Attempt(attempt_id, number, dataset, day, batch_id, record_id)


def _begin_attempt(cursor: "Cursor", values: dict[str, Any]) -> tuple[int, bool]:
    """Start an attempt; return its ID, and whether it was unplanned (so it may replace another)."""
    cursor.execute(_SQL["begin_planned"], values)
    row = cursor.fetchone()
    if row is not None:
        return int(row[0]), False
    cursor.execute(_SQL["cancelled_by"], values)
    cancelled = cursor.fetchone()
    if cancelled is not None:
        raise BatchCancelledError(
            f"dataset {values['dataset']}: the batch was cancelled by {cancelled[0]}; retry the "
            f"batch to sync {values['day']}"
        )
    cursor.execute(_SQL["supersede"], values)
    cursor.execute(_SQL["begin_unplanned"], values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  an unconditional insert returns a row
    return int(row[0]), True


def succeed(cursor: "Cursor", attempt: Attempt, counts: DayCounts, *, ago: float = 0.0) -> None:
    """Close `attempt` and its day's record as a success that ended `ago` seconds ago.

    Raises SupersededError if a later attempt has started or this one was closed; if called in the
    transaction that loads the day, the caller then has to roll that transaction back. Idempotent,
    because a connection may break between the commit and its response.
    """
    cursor.execute(
        _SQL["succeed"],
        {
            "id": attempt.id,
            "record_id": attempt.record_id,
            "number": attempt.number,
            "remarks": remarks.day_finished(attempt.day, counts),
            "ago": ago,
            **vars(counts),
        },
    )
    if cursor.rowcount != 1:
        raise superseded_error(attempt)


def record_replay(cursor: "Cursor", day: SyncedDay, kept: int) -> None:
    """Record that a day's quarantined rows were loaded, except `kept` of them.

    Does nothing if the day has been synced again since. Idempotent.
    """
    values = {"record_id": day.record_id, "number": day.attempt, "kept": kept}
    cursor.execute(_SQL["record_replay"], values)
    row = cursor.fetchone()
    if row is not None:
        sync_date, rows = row
        text = remarks.day_finished(sync_date, DayCounts(rows, rows - kept, kept, 0))
        cursor.execute(_SQL["replay_remarks"], {"id": day.record_id, "remarks": text})


def superseded_error(attempt: Attempt) -> SupersededError:
    """Return the error for a worker whose attempt is no longer running."""
    return SupersededError(
        f"dataset {attempt.dataset}, day {attempt.day}: attempt {attempt.number} was closed or "
        "superseded by a later one, so its success does not count. Look up the day in "
        "sync_attempt, and sync it again if no attempt is running"
    )


def is_running(cursor: "Cursor", attempt: Attempt) -> bool | None:
    """Return whether `attempt` is still running; None if it does not exist.

    An attempt may be lost in a server crash, because starting it does not wait for the disk.
    """
    cursor.execute(_SQL["state"], {"id": attempt.id, "number": attempt.number})
    row = cursor.fetchone()
    return None if row is None else AttemptState(row[0]) is AttemptState.SYNCING


def is_success(cursor: "Cursor", attempt: Attempt) -> bool:
    """Return whether `attempt` is recorded as a success."""
    cursor.execute(_SQL["state"], {"id": attempt.id, "number": attempt.number})
    return cursor.fetchone() == (AttemptState.SUCCESS.value,)


def fail(cursor: "Cursor", attempt: Attempt, error: str, *, ago: float = 0.0) -> None:
    """Close `attempt` and its day's record as failed `ago` seconds ago; refresh the batch's record.

    Changes nothing if the attempt has already ended. `error` is one line without secrets.
    """
    cursor.execute(
        _SQL["fail"],
        {
            "id": attempt.id,
            "record_id": attempt.record_id,
            "number": attempt.number,
            "error": error,
            "ago": ago,
            "remarks": remarks.day_failed(error),
        },
    )
    batches.refresh_all(cursor, [attempt.batch_id])


def refuse(
    cursor: "Cursor",
    dataset: str,
    day: date,
    error: str,
    *,
    batch_id: int | None,
    run_id: str | None,
    triggered_by: str | None,
) -> None:
    """Record that a day failed before an attempt could start, for example because it was locked.

    Idempotent within a run. Does not change the day's record, which belongs to the worker that
    holds the lock. If that worker belongs to the same batch, its attempt remains the current one.
    """
    values: dict[str, Any] = {
        "dataset": dataset,
        "day": day,
        "error": error,
        "batch_id": batch_id,
        "run_id": run_id,
        "triggered_by": triggered_by,
    }
    if batch_id is not None:
        cursor.execute(_SQL["refuse_planned"], values)
    if batch_id is None or cursor.rowcount == 0:
        cursor.execute(_SQL["is_refused"], values)
        if cursor.fetchone() is not None:
            return
        cursor.execute(_SQL["supersede_ended"], values)
        cursor.execute(_SQL["refuse_unplanned"], values)
    batches.refresh_all(cursor, [batch_id])


def skip(cursor: "Cursor", batch_id: int, days: Sequence[date], run_id: str | None) -> None:
    """Mark synced days of a batch as skipped.

    Applies to pending days, and to days that failed in this batch but have been synced elsewhere.
    """
    values: dict[str, Any] = {"batch_id": batch_id, "days": list(days), "run_id": run_id}
    cursor.execute(_SQL["skip"], values)
    cursor.execute(_SQL["supersede_failed"], values)
    failed = [day for (day,) in cursor.fetchall()]
    if failed:
        cursor.execute(_SQL["skip_failed"], values | {"days": failed})
    batches.refresh(cursor, batch_id)


def synced_days(cursor: "Cursor", dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
    """Return which of `days` are synced, according to their records."""
    cursor.execute(_SQL["synced_days"], {"dataset": dataset, "days": list(days)})
    return {row[0]: SyncedDay(*row[1:]) for row in cursor.fetchall()}


def is_recorded(cursor: "Cursor", run_id: str, dataset: str, day: date, state: str) -> bool:
    """Return whether the run has an attempt in state `state` for the day."""
    values = {"run_id": run_id, "dataset": dataset, "day": day, "state": state}
    cursor.execute(_SQL["is_recorded"], values)
    return cursor.rowcount > 0


def fail_open_attempts_of_run(cursor: "Cursor", run_id: str, error: str) -> int:
    """Close the running attempts of a finished run as failed; return their number.

    Days that the run did not start stay pending: they may belong to another run.
    """
    cursor.execute(_SQL["syncing_of_run"], {"run_id": run_id})
    return _close(cursor, cursor.fetchall(), error)


def mark_days_not_run(
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
    """Mark a batch's unfinished days (those in `days`, or all) as not run; return their number.

    The days fail with `error`, `ago` seconds ago; the error of a day that never started says that
    it was not run. With `run_id`, excludes days that another run has started. With `planned_by`,
    includes only days that this run has planned or started. With `planned_before`, excludes pending
    days that were planned after that time, when the batch was retried.
    """
    cursor.execute(
        _SQL["unfinished_of_batch"],
        {
            "batch_id": batch_id,
            "days": None if days is None else list(days),
            "run_id": run_id,
            "planned_by": planned_by,
            "planned_before": planned_before,
        },
    )
    return _close(cursor, cursor.fetchall(), error, ago)


def unreported(cursor: "Cursor", limit: int) -> list[UnreportedDay]:
    """Return up to `limit` synced days that are not reported to Dagster and whose runs have no
    worker."""
    cursor.execute(_SQL["unreported"], {"limit": limit})
    return [UnreportedDay(*row) for row in cursor.fetchall()]


def mark_reported(cursor: "Cursor", attempt_ids: Sequence[int]) -> None:
    """Record that these attempts have been reported to Dagster."""
    cursor.execute(_SQL["mark_reported"], {"ids": list(attempt_ids)})


def runs_without_worker(cursor: "Cursor", seconds: float) -> list[str]:
    """Return runs that have a running attempt older than `seconds` and no registered worker."""
    cursor.execute(_SQL["runs_without_worker"], {"seconds": seconds})
    return [row[0] for row in cursor.fetchall()]


def _close(cursor: "Cursor", rows: Sequence[tuple[Any, ...]], error: str, ago: float = 0.0) -> int:
    started = [row[0] for row in rows if row[1] is not None]
    not_started = [row[0] for row in rows if row[1] is None]
    closed = 0
    if started:
        values = {"ids": started, "ago": ago, "error": error, "remarks": remarks.day_failed(error)}
        cursor.execute(_SQL["close_day_records"], values)
        cursor.execute(_SQL["close_attempts"], values | {"state": "syncing"})
        closed += cursor.rowcount
    if not_started:
        # Only those still pending: a day that has been started since the query is left to its
        # worker.
        error = batches.NOT_RUN + error
        values = {"ids": not_started, "ago": ago, "state": "pending", "error": error}
        cursor.execute(_SQL["close_attempts"], values)
        closed += cursor.rowcount
    batches.refresh_all(cursor, [row[4] for row in rows])
    return closed
