"""Late results: successes and failures of days that are recorded after the fact.

A result is late if the tracking tables were unavailable, or if the worker died between committing a
day and recording it. Recording a late result is idempotent; it neither affects another worker that
is syncing the day nor overrides a later result for the day. All functions work in the caller's
transaction and lock rows in the same order as `attempts.py`. Does not find late results: see
`orchestration/recovery/`.
"""

from typing import TYPE_CHECKING, Any

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import AttemptState, DayCounts, LateFailure, LateSuccess
from sync_pipeline.tracking.state import batches, remarks

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "late_results.sql")
_NOTHING = DayCounts(0, 0, 0, 0)


def lock_late_results(cursor: "Cursor") -> None:
    """Prevent other processes from recording late results until the transaction ends."""
    cursor.execute(_SQL["lock_late_results"])


def record_late_success(cursor: "Cursor", late: LateSuccess, *, refresh: bool = True) -> bool:
    """Record a success; return False if it has to wait because another run is syncing the day.

    Closes the run's own attempt for the day as a success: the running one, or the one with
    `late.number`, even if it was closed as failed because its worker was presumed dead. If there is
    neither, adds an attempt. Within the batch, this attempt replaces a pending or failed one for
    the day. Updates the day's record (unless another run's attempt ended later) and, with
    `refresh`, the batch's record.
    """
    values = {
        **_values(late),
        "state": AttemptState.SUCCESS.value,
        "error": None,
        **vars(late.counts),
        "remarks": remarks.day_finished(late.day, late.counts),
        "reported": late.reported,
    }
    return _record(cursor, values, (AttemptState.SUCCESS,), refresh)


def record_late_failure(cursor: "Cursor", late: LateFailure, *, refresh: bool = True) -> bool:
    """Record a failure; return False if it has to wait because another run is syncing the day.

    Changes nothing if the run's attempt for the day has already ended. Otherwise, closes or adds an
    attempt and updates the records as `record_late_success` does.
    """
    values = {
        **_values(late),
        "state": AttemptState.FAILED.value,
        "error": late.error,
        **vars(_NOTHING),
        "remarks": remarks.day_failed(late.error),
        "reported": False,
    }
    final = (AttemptState.SUCCESS, AttemptState.FAILED)
    return _record(cursor, values, final, refresh)


def _values(late: LateSuccess | LateFailure) -> dict[str, Any]:
    return {
        "dataset": late.dataset,
        "day": late.day,
        "batch_id": late.batch_id,
        "run_id": late.run_id,
        "triggered_by": late.triggered_by,
        "number": late.number,
        "started_at": late.started_at,
        "ended_at": late.ended_at,
    }


def _record(
    cursor: "Cursor", values: dict[str, Any], final: tuple[AttemptState, ...], refresh: bool
) -> bool:
    values["record_id"], latest = _lock_record(cursor, values)
    # In a separate statement, which sees what was committed while the first statement waited.
    cursor.execute(_SQL["attempts_at_day"], values)
    found = cursor.fetchall()
    ours = [row for row in found if row[3]]
    if any(AttemptState(row[2]) in final for row in ours):
        return True
    own = ours[0][:2] if ours else None
    # A new attempt would have a higher number than the running one and so supersede it.
    if own is None and any(AttemptState(row[2]) is AttemptState.SYNCING for row in found):
        return False
    cursor.execute(_SQL["supersede_failed"], values | {"own": own and own[0]})
    number = latest + 1 if own is None else own[1]
    # The materialization in Dagster may have no attempt number, or the number of an attempt that
    # was lost in a crash.
    reported = values["reported"] and values["number"] == number
    values |= {"number": number, "reported": reported}
    if own is None:
        cursor.execute(_SQL["end_pending"], values)
        if cursor.rowcount == 0:
            cursor.execute(_SQL["add_attempt"], values)
    else:
        values["own"] = own[0]
        cursor.execute(_SQL["end_own"], values)
        cursor.execute(_SQL["skip_pending"], values)
    cursor.execute(_SQL["update_record"], values)
    if refresh:
        batches.refresh_all(cursor, [values["batch_id"]])
    return True


def _lock_record(cursor: "Cursor", values: dict[str, Any]) -> tuple[int, int]:
    """Lock the day's record, creating it if missing; return its ID and latest attempt number."""
    cursor.execute(_SQL["lock_record"], values)
    row = cursor.fetchone()
    if row is None:
        cursor.execute(_SQL["create_record"], values)
        cursor.execute(_SQL["lock_record"], values)
        row = cursor.fetchone()
    assert row is not None  # noqa: S101  created here or by another session
    return int(row[0]), int(row[1])
