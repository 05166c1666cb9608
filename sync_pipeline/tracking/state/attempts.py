"""Attempts: pending → syncing → success | failed | skipped, and the day records that follow.

All functions work in the caller's transaction. Rows are always touched in the order day record,
attempt, batch record, and batches by id, so that two workers cannot deadlock.
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
    FailedTry,
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
    after: FailedTry | None = None,
    again: bool = True,
) -> Attempt:
    """Begin an attempt at a day, whose lock the caller holds; return it with its number.

    Raises DayDoneError if the day is in and need not be done: by an attempt of the batch, or,
    unless it is to be done `again`, by anybody's; BatchCancelledError if its batch was cancelled.
    An attempt still `syncing` belongs to a worker that lost the lock, and ends here as failed; so
    does the caller's own that failed before, `after`, with its error.
    A later try at a day of the same batch supersedes the earlier one in the batch's counts.
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
        "again": again,
    }
    cursor.execute(_SQL["begin_day_record"], values)
    row = cursor.fetchone()
    if row is None:
        raise DayDoneError(f"dataset {dataset}: {day} is in already")
    record_id, number = row
    values["number"] = number
    # By a statement of its own, which sees who came while the one before waited for the record.
    cursor.execute(_SQL["end_lost_attempts"], values)
    lost_in = [lost for (lost,) in cursor.fetchall()]
    attempt_id, another_try = _begin_attempt(cursor, values)
    # A batch that was closed over this day's failure is open again.
    batches.refresh_all(cursor, [*lost_in, batch_id if another_try else None])
    return Attempt(attempt_id, number, dataset, day, batch_id, record_id)


def _begin_attempt(cursor: "Cursor", values: dict[str, Any]) -> tuple[int, bool]:
    """Return the attempt's id, and whether it takes the place of an earlier one of its batch."""
    cursor.execute(_SQL["begin_planned"], values)
    row = cursor.fetchone()
    if row is not None:
        return int(row[0]), False
    cursor.execute(_SQL["cancelled_by"], values)
    cancelled = cursor.fetchone()
    if cancelled is not None:
        raise BatchCancelledError(
            f"dataset {values['dataset']}: the batch was cancelled by {cancelled[0]}; retry it to "
            f"sync {values['day']} after all"
        )
    cursor.execute(_SQL["supersede"], values)
    cursor.execute(_SQL["begin_unplanned"], values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  an insert without a condition always answers
    return int(row[0]), True


def succeed(cursor: "Cursor", attempt: Attempt, counts: DayCounts, *, ago: float = 0.0) -> None:
    """Close `attempt` as a success that ended `ago` seconds before, with its day's record.

    Belongs into the transaction that loads the day: raises SupersededError if a later attempt has
    begun or this one was given up, and then that transaction must be rolled back. Doing it twice
    is doing it once: a connection may break between the commit and its answer.
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
        raise superseded(attempt)


def replayed(cursor: "Cursor", day: SyncedDay, kept: int) -> None:
    """Note that of the rows set aside of a day all are in now but `kept`; nothing if the day has
    been synced again since. Twice is as once."""
    values = {"record_id": day.record_id, "number": day.attempt, "kept": kept}
    cursor.execute(_SQL["replayed"], values)
    row = cursor.fetchone()
    if row is not None:
        sync_date, rows = row
        said = remarks.day_finished(sync_date, DayCounts(rows, rows - kept, kept, 0))
        cursor.execute(_SQL["replayed_remarks"], {"id": day.record_id, "remarks": said})


def superseded(attempt: Attempt) -> SupersededError:
    """Return the error of a worker whose attempt is not at its day any more."""
    return SupersededError(
        f"dataset {attempt.dataset}, day {attempt.day}: attempt {attempt.number} was given up "
        "or a later one has begun, so its success does not count. See sync_attempt for who "
        "has the day now, and sync it again if nobody has"
    )


def is_running(cursor: "Cursor", attempt: Attempt) -> bool | None:
    """Return whether `attempt` is still at its day; None if it is not there at all.

    An attempt's beginning is not awaited on disk, so that a server that crashes may forget it.
    """
    cursor.execute(_SQL["state"], {"id": attempt.id, "number": attempt.number})
    row = cursor.fetchone()
    return None if row is None else AttemptState(row[0]) is AttemptState.SYNCING


def is_success(cursor: "Cursor", attempt: Attempt) -> bool:
    """Return whether `attempt` is recorded as a success."""
    cursor.execute(_SQL["state"], {"id": attempt.id, "number": attempt.number})
    return cursor.fetchone() == (AttemptState.SUCCESS.value,)


def fail(cursor: "Cursor", attempt: Attempt, error: str, *, ago: float = 0.0) -> None:
    """Close `attempt` as failed `ago` seconds before, if it is not over already; its day's and
    batch's records follow.

    `error` is one line without secrets.
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
    """Note that a day failed before an attempt could begin, as when another worker holds it.

    Said twice by the same run, it is noted once.
    The day's record is left to whoever holds the day. If that is a worker of the same batch, how
    the day ends in the batch is left to it too.
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
        cursor.execute(_SQL["refused_already"], values)
        if cursor.fetchone() is not None:
            return
        cursor.execute(_SQL["supersede_ended"], values)
        cursor.execute(_SQL["refuse_unplanned"], values)
    batches.refresh_all(cursor, [batch_id])


def skip(cursor: "Cursor", batch_id: int, days: Sequence[date], run_id: str | None) -> None:
    """Mark days of a batch as skipped: they are in already and stay as they are.

    Those are days that wait, and days that failed in this batch and were synced elsewhere since.
    """
    values: dict[str, Any] = {"batch_id": batch_id, "days": list(days), "run_id": run_id}
    cursor.execute(_SQL["skip"], values)
    cursor.execute(_SQL["supersede_failed"], values)
    failed = [day for (day,) in cursor.fetchall()]
    if failed:
        cursor.execute(_SQL["skip_failed"], values | {"days": failed})
    batches.refresh(cursor, batch_id)


def synced_days(cursor: "Cursor", dataset: str, days: Sequence[date]) -> dict[date, SyncedDay]:
    """Return those of `days` that are in, by their day records."""
    cursor.execute(_SQL["synced_days"], {"dataset": dataset, "days": list(days)})
    return {row[0]: SyncedDay(*row[1:]) for row in cursor.fetchall()}


def is_known(cursor: "Cursor", run_id: str, dataset: str, day: date, state: str) -> bool:
    """Return whether it is recorded that the run's work on the day ended in this state."""
    values = {"run_id": run_id, "dataset": dataset, "day": day, "state": state}
    cursor.execute(_SQL["is_known"], values)
    return cursor.rowcount > 0


def fail_open_attempts_of_run(cursor: "Cursor", run_id: str, error: str) -> int:
    """Close what the run `run_id` had begun and not finished; return how many attempts that was.

    For a run that is over. Days it never began stay pending: another run may own them.
    """
    cursor.execute(_SQL["syncing_of_run"], {"run_id": run_id})
    return _give_up(cursor, cursor.fetchall(), error)


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
    """Close the unfinished days of a batch, all or those in `days`, as failed `ago` seconds before;
    return how many there were.

    With `run_id`, days that another run has begun are left to it; with `planned_by`, all that
    another run has begun or planned. With `planned_before`, days are left that were planned later,
    when the batch was taken up again. A day that never began is failed like the others, and its
    error says that it was not run.
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
    return _give_up(cursor, cursor.fetchall(), error, ago)


def unreported(cursor: "Cursor", limit: int) -> list[UnreportedDay]:
    """Return days that are in, that Dagster was not told of, and whose worker is gone."""
    cursor.execute(_SQL["untold"], {"limit": limit})
    return [UnreportedDay(*row) for row in cursor.fetchall()]


def mark_reported(cursor: "Cursor", attempt_ids: Sequence[int]) -> None:
    """Note that Dagster has been told of these attempts."""
    cursor.execute(_SQL["mark_told"], {"ids": list(attempt_ids)})


def runs_without_worker(cursor: "Cursor", seconds: float) -> list[str]:
    """Return runs with an attempt that began more than `seconds` ago and that has no worker."""
    cursor.execute(_SQL["runs_without_worker"], {"seconds": seconds})
    return [row[0] for row in cursor.fetchall()]


def _give_up(
    cursor: "Cursor", rows: Sequence[tuple[Any, ...]], error: str, ago: float = 0.0
) -> int:
    begun = [row[0] for row in rows if row[1] is not None]
    never_begun = [row[0] for row in rows if row[1] is None]
    given_up = 0
    if begun:
        values = {"ids": begun, "ago": ago, "error": error, "remarks": remarks.day_failed(error)}
        cursor.execute(_SQL["give_up_day_records"], values)
        cursor.execute(_SQL["give_up_attempts"], values | {"state": "syncing"})
        given_up += cursor.rowcount
    if never_begun:
        # A day that has begun since it was looked at is its worker's, and has a record to follow.
        never = {"ids": never_begun, "ago": ago, "state": "pending"}
        values = never | {"error": batches.NOT_RUN + error}
        cursor.execute(_SQL["give_up_attempts"], values)
        given_up += cursor.rowcount
    batches.refresh_all(cursor, [row[4] for row in rows])
    return given_up
