"""What the API writes: opening a batch, retrying it, and cancelling its pending days.

Calls database functions that run with their owner's privileges, so that the API's role needs no
privilege to change records. They call the same functions as workers: see `batches.py` and
`attempts.py`. All functions except `lock_batch_key` work in the caller's transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2

from sync_pipeline.database import named_sql
from sync_pipeline.errors import RequestError
from sync_pipeline.tracking.models import BatchSpec

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

KEY_PREFIX = "api-"
"""Prefix of the keys of batches opened by the API."""

_SQL = named_sql.load(__package__, "requests.sql")


@contextmanager
def lock_batch_key(cursor: "Cursor", key: str) -> Iterator[None]:
    """Hold an advisory lock on `key` during the block, so that only one request for the batch with
    this key runs at a time.

    The lock belongs to the session and outlives its transactions.
    """
    cursor.execute(_SQL["lock_batch_key"], {"key": key})
    try:
        yield
    finally:
        if not cursor.closed and not cursor.connection.closed:
            cursor.execute(_SQL["unlock_batch_key"], {"key": key})


def find(cursor: "Cursor", batch_key: str) -> int | None:
    """Return the ID of the record with this batch key, or None."""
    cursor.execute(_SQL["find_batch"], {"batch_key": batch_key})
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def open_batch(cursor: "Cursor", spec: BatchSpec) -> int:
    """Open the record of a batch with all its days pending; return its ID.

    Raises RequestError if its key already exists.
    """
    values = vars(spec) | {"already_synced": spec.already_synced}
    cursor.execute(_SQL["open_batch"], values)
    row = cursor.fetchone()
    if row is None or row[0] is None:
        raise RequestError(f"batch {spec.batch_key} was just opened by another request; try again")
    return int(row[0])


def retry_batch(cursor: "Cursor", batch_id: int, triggered_by: str) -> None:
    """Reset the failed days of a batch to pending; its record is `syncing` afterwards.

    Raises RequestError if there is no such batch, or if it has no failed days.
    """
    nothing = RequestError(
        f"batch {batch_id} no longer has failed days", "nothing_unfinished", id=batch_id
    )
    values = {"batch_id": batch_id, "triggered_by": triggered_by}
    _change(cursor, "retry_batch", values, nothing)


def cancel_pending(
    cursor: "Cursor", batch_id: int, why: str, *, cancelled_by: str | None = None
) -> None:
    """Mark the pending days of a batch as not run, with the reason `why`.

    Does not touch running days. Raises RequestError if the batch is no longer running.
    """
    nothing = RequestError(
        f"batch {batch_id} is no longer running", "batch_not_running", id=batch_id
    )
    values = {"batch_id": batch_id, "error": why, "cancelled_by": cancelled_by}
    _change(cursor, "cancel_pending", values, nothing)


def _change(
    cursor: "Cursor", statement: str, values: dict[str, Any], nothing: RequestError
) -> None:
    """Change days of a batch; raise `nothing` if there is no day to change."""
    try:
        cursor.execute(_SQL[statement], values)
    except psycopg2.errors.NoDataFound:
        raise nothing from None
