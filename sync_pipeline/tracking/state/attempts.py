"""Attempts (pending → syncing → success, failed or skipped) and the records of their days.

All changes are made by the functions in `database/functions.sql`, in the caller's transaction. Does
not open, retry or close batches: see `batches.py`.
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg2

from sync_pipeline.database import named_sql
from sync_pipeline.errors import (
    BatchCancelledError,
    DayDoneError,
    SupersededError,
    SyncError,
    WorkerLostError,
)
from sync_pipeline.tracking.models import (
    Attempt,
    AttemptState,
    DayOutcome,
    FailedAttempt,
    Recorded,
    SyncedDay,
    UnreportedDay,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

    from sync_pipeline.tracking.worker.workers import Worker

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
    worker: "Worker | None" = None,
) -> Attempt:
    """Start an attempt for a day whose lock the caller holds; return it with its number.

    Raises DayDoneError if the day was synced by an attempt of the batch or, unless `resync`, by any
    attempt; BatchCancelledError if the batch was cancelled; WorkerLostError if `worker` is not
    registered any more. An earlier attempt that is still `syncing` has lost the lock and is closed
    as failed; so is the caller's previous attempt `after`, with its own error. In the batch's
    counts, the new attempt replaces an earlier one for the same day.
    """
    values: dict[str, Any] = {
        "dataset": dataset,
        "day": day,
        "batch_id": batch_id,
        "run_id": run_id,
        "triggered_by": triggered_by,
        "after": None if after is None else after.attempt.id,
        "after_error": None if after is None else after.error,
        "resync": resync,
        "host_id": None if worker is None else worker.host_id,
        "pid": None if worker is None else worker.pid,
    }
    try:
        cursor.execute(_SQL["begin"], values)
    except psycopg2.Error as error:
        reason = _to_obey(error, dataset, day, run_id)
        if reason is None:
            raise
        raise reason from error
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a function's result
    return Attempt(row[0], row[1], dataset, day, batch_id, row[2])


def record_outcome(
    cursor: "Cursor",
    outcome: DayOutcome,
    batch_id: int | None,
    *,
    ended_ago: float = 0.0,
    fence: bool = False,
    project: bool = True,
    before: str = "",
) -> Recorded:
    """Record how a day ended, `ended_ago` seconds ago: in the transaction that loads it, or later.

    Idempotent. With `fence`, raises SupersededError if the attempt was closed or superseded; the
    caller then has to roll back the day's rows. With `project`, also computes the batch's record; a
    failure always does. The statements `before` are executed first, in the same round trip.
    """
    values = vars(outcome) | {
        **vars(outcome.counts),
        "state": outcome.state.value,
        "batch_id": batch_id,
        "ended_ago": ended_ago,
        "fence": fence,
        "project": project,
    }
    try:
        cursor.execute(before + _SQL["record_outcome"], values)
    except psycopg2.Error as error:
        if error.pgcode == "SP001":
            raise superseded_error(outcome.dataset, outcome.day, outcome.number) from error
        raise
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a function's result
    return Recorded(row[0])


def skip(cursor: "Cursor", batch_id: int, days: Sequence[date], run_id: str | None) -> None:
    """Mark synced days of a batch as skipped.

    Applies to pending days, and to days that failed in this batch but have been synced elsewhere.
    """
    cursor.execute(_SQL["skip"], {"batch_id": batch_id, "days": list(days), "run_id": run_id})


def fail_run(cursor: "Cursor", run_id: str, error: str) -> int:
    """Close the running attempts of a run that has ended as failed; return their number.

    Days that the run did not start stay pending: they may belong to another run.
    """
    cursor.execute(_SQL["fail_run"], {"run_id": run_id, "error": error})
    return _count(cursor)


def explain_interrupted(cursor: "Cursor", run_id: str, error: str, reason: str) -> None:
    """Say in the errors of the run's days that failed with `error` who or what interrupted them:
    the user who cancelled their batch over the API, or `reason`. Idempotent."""
    values = {"run_id": run_id, "error": error, "reason": reason}
    cursor.execute(_SQL["explain_interrupted"], values)


def record_replay(cursor: "Cursor", day: SyncedDay, kept: int) -> None:
    """Record that a day's quarantined rows were loaded, except `kept` of them.

    Does nothing if another attempt has loaded the day's rows since. Idempotent.
    """
    values = {"record_id": day.record_id, "number": day.attempt, "kept": kept}
    cursor.execute(_SQL["record_replay"], values)


def is_running(cursor: "Cursor", attempt: Attempt) -> bool | None:
    """Return whether `attempt` is still running; None if it does not exist.

    An attempt may be lost in a server crash, because starting it does not wait for the disk.
    """
    state = _state(cursor, attempt)
    return None if state is None else state is AttemptState.SYNCING


def is_success(cursor: "Cursor", attempt: Attempt) -> bool:
    """Return whether `attempt` is recorded as a success."""
    return _state(cursor, attempt) is AttemptState.SUCCESS


def superseded_error(dataset: str, day: date, number: int | None) -> SupersededError:
    """Return the error for a worker whose attempt is no longer running."""
    return SupersededError(
        f"dataset {dataset}, day {day}: attempt {number} was closed or superseded by a later one, "
        "so its success does not count. Look up the day in sync_attempt, and sync it again if no "
        "attempt is running"
    )


def synced_days(cursor: "Cursor", dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
    """Return which of `days` are synced, according to their records."""
    cursor.execute(_SQL["synced_days"], {"dataset": dataset, "days": list(days)})
    return {row[0]: SyncedDay(*row[1:]) for row in cursor.fetchall()}


def loaded_days(cursor: "Cursor", dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
    """Return which of `days` have been loaded into the target and not been lost since, even if a
    later attempt failed, with the attempt that loaded them."""
    cursor.execute(_SQL["loaded_days"], {"dataset": dataset, "days": list(days)})
    return {row[0]: SyncedDay(*row[1:]) for row in cursor.fetchall()}


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


def _state(cursor: "Cursor", attempt: Attempt) -> AttemptState | None:
    cursor.execute(_SQL["state"], vars(attempt))
    row = cursor.fetchone()
    return None if row is None else AttemptState(row[0])


def _to_obey(
    error: psycopg2.Error, dataset: str, day: date, run_id: str | None
) -> SyncError | None:
    """Return the exception for an error that a worker has to obey, or None for any other error.

    The SQLSTATEs are defined in `database/functions.sql`.
    """
    match error.pgcode:
        case "SP002":
            return DayDoneError(f"dataset {dataset}: {day} is already synced")
        case "SP003":
            return BatchCancelledError(
                f"dataset {dataset}: the batch was cancelled by {error.diag.message_detail}; retry "
                f"the batch to sync {day}"
            )
        case "SP004":
            return WorkerLostError(
                f"run {run_id}: this worker missed its heartbeat and was presumed dead; its run "
                "was terminated, so this worker is stopping. Retry the batch"
            )
    return None


def _count(cursor: "Cursor") -> int:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a function's result
    return int(row[0])
