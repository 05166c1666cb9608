"""Adoption: a day's end that becomes known only afterwards is entered where it belongs.

The tables were away while a worker synced days, or it died between its commit and its record; what
it, or Dagster's events, tell later is written here. Nothing is taken from another worker that is at
the day, and a later end of the day stands. Doing it twice is doing it once. All functions work in
the caller's transaction, and touch rows in the order of `attempts`.
"""

from typing import TYPE_CHECKING, Any

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import AttemptState, DayCounts, LateFailure, LateSuccess
from sync_pipeline.tracking.state import batches, remarks

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "late_results.sql")
_NOTHING = DayCounts(0, 0, 0, 0)


def one_at_a_time(cursor: "Cursor") -> None:
    """Wait for whoever else enters what became known afterwards; hold others off likewise."""
    cursor.execute(_SQL["one_at_a_time"])


def record_late_success(cursor: "Cursor", late: LateSuccess, *, refresh: bool = True) -> bool:
    """Enter a success; return False if it needs an attempt of its own while another run is at the
    day, so that it must wait.

    The run's own attempt at the day becomes the success: the one with `late.number`, also if it
    was closed as failed by somebody who took its worker for dead, else the one it is at. Without
    one, an attempt is added. It stands for the day in its batch in place of one that waits or
    failed. The day's record follows unless a later attempt ended later. With `refresh`, the
    batch's record does too.
    """
    values = {
        **_values(late),
        "state": AttemptState.SUCCESS.value,
        "error": None,
        **vars(late.counts),
        "remarks": remarks.day_finished(late.day, late.counts),
        "told": late.told,
    }
    return _adopt(cursor, values, (AttemptState.SUCCESS,), refresh)


def record_late_failure(cursor: "Cursor", late: LateFailure, *, refresh: bool = True) -> bool:
    """Enter a failure likewise; a day of which the run's end is known already is left as it is."""
    values = {
        **_values(late),
        "state": AttemptState.FAILED.value,
        "error": late.error,
        **vars(_NOTHING),
        "remarks": remarks.day_failed(late.error),
        "told": False,
    }
    known = (AttemptState.SUCCESS, AttemptState.FAILED)
    return _adopt(cursor, values, known, refresh)


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


def _adopt(
    cursor: "Cursor", values: dict[str, Any], known: tuple[AttemptState, ...], refresh: bool
) -> bool:
    values["record_id"], latest = _hold_record(cursor, values)
    # By a statement of its own, which sees what was written while the record was waited for.
    cursor.execute(_SQL["attempts_at_day"], values)
    found = cursor.fetchall()
    ours = [row for row in found if row[3]]
    if any(AttemptState(row[2]) in known for row in ours):
        return True
    own = ours[0][:2] if ours else None
    # A number of its own would be later than that of whoever is at the day, and so end their work.
    if own is None and any(AttemptState(row[2]) is AttemptState.SYNCING for row in found):
        return False
    cursor.execute(_SQL["supersede_failed"], values | {"own": own and own[0]})
    number = latest + 1 if own is None else own[1]
    # Dagster may have been told of the day without its attempt's number, or with one that was lost.
    values |= {"number": number, "told": values["told"] and values["number"] == number}
    if own is None:
        cursor.execute(_SQL["adopt_pending"], values)
        if cursor.rowcount == 0:
            cursor.execute(_SQL["add_attempt"], values)
    else:
        values["own"] = own[0]
        cursor.execute(_SQL["adopt_own"], values)
        cursor.execute(_SQL["skip_pending"], values)
    cursor.execute(_SQL["adopt_record"], values)
    if refresh:
        batches.refresh_all(cursor, [values["batch_id"]])
    return True


def _hold_record(cursor: "Cursor", values: dict[str, Any]) -> tuple[int, int]:
    """Return the id of the day's record and the number of the latest attempt, and hold it."""
    cursor.execute(_SQL["hold_record"], values)
    row = cursor.fetchone()
    if row is None:
        cursor.execute(_SQL["make_record"], values)
        cursor.execute(_SQL["hold_record"], values)
        row = cursor.fetchone()
    assert row is not None  # noqa: S101  it was made, here or by somebody else
    return int(row[0]), int(row[1])
