"""What the API writes: a batch is opened or taken up again, or what of it nobody has begun is
withdrawn.

Through functions of the database that act in their owner's name and on nothing else, so that the
API's role needs no right to change a record. All but `one_at_a_time` work in the caller's
transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2

from sync_pipeline.database import named_sql
from sync_pipeline.errors import RequestError
from sync_pipeline.tracking.models import NewBatch, middle_day
from sync_pipeline.tracking.state import batches, remarks

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

KEY_PREFIX = "api-"
"""How the key of a batch begins that the API opened."""

_SQL = named_sql.load(__package__, "requests.sql")


@contextmanager
def one_at_a_time(cursor: "Cursor", key: str) -> Iterator[None]:
    """Let nobody else do what is asked for under `key` while the block lasts.

    Held by the session, over its transactions.
    """
    cursor.execute(_SQL["lock_request"], {"key": key})
    try:
        yield
    finally:
        if not cursor.closed and not cursor.connection.closed:
            cursor.execute(_SQL["unlock_request"], {"key": key})


def find(cursor: "Cursor", batch_key: str) -> int | None:
    """Return the id of the record that was opened under this key, or None."""
    cursor.execute(_SQL["find_request"], {"batch_key": batch_key})
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def open_batch(cursor: "Cursor", new: NewBatch) -> int:
    """Open the record of a batch with all its days pending; return its id.

    Raises RequestError if its key is already there.
    """
    start, end = min(new.days), max(new.days)
    values = {
        "batch_key": new.batch_key,
        "dataset": new.dataset,
        "days": list(new.days),
        "triggered_by": new.triggered_by,
        "already_synced": "resync" if new.resync else "skip",
        "sync_date": middle_day(start, end),
        "remarks": remarks.batch_opened(start, end, len(set(new.days))),
    }
    cursor.execute(_SQL["open_batch"], values)
    row = cursor.fetchone()
    if row is None or row[0] is None:
        raise RequestError(f"batch {new.batch_key} is open already; ask for it again")
    return int(row[0])


def retry_batch(cursor: "Cursor", batch_id: int, triggered_by: str) -> None:
    """Let the days of a batch wait again that failed in it; its record is `syncing` then.

    Raises RequestError if it is no batch that failed.
    """
    nothing = RequestError(
        f"batch {batch_id} has no day any more that failed", "nothing_unfinished", id=batch_id
    )
    values = {"batch_id": batch_id, "triggered_by": triggered_by}
    _change(cursor, "take_up_again", values, nothing)


def withdraw(cursor: "Cursor", batch_id: int, why: str, *, cancelled_by: str | None = None) -> None:
    """Let the days of a batch that nobody has begun fail as not run, and `why`.

    A day at work is its worker's. Raises RequestError if the batch is not at work any more.
    """
    nothing = RequestError(
        f"batch {batch_id} is not at work any more", "batch_not_running", id=batch_id
    )
    values = {"batch_id": batch_id, "error": batches.NOT_RUN + why, "cancelled_by": cancelled_by}
    _change(cursor, "withdraw_days", values, nothing)


def _change(
    cursor: "Cursor", statement: str, values: dict[str, Any], nothing: RequestError
) -> None:
    """Change days of a batch, and write what they say now into its record. Raises `nothing` if
    there are none that could be."""
    try:
        cursor.execute(_SQL[statement], values)
    except psycopg2.errors.NoDataFound:
        raise nothing from None
    projected = batches.projection(cursor, values["batch_id"])
    if projected is not None:
        cursor.execute(_SQL["project_batch"], projected)
