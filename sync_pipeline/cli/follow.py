"""Watching a batch by its record, from any process, however the batch was launched."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TrackingError, one_line
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import BatchProgress
from sync_pipeline.tracking.read import reports

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_LOOK_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 2.0


@contextmanager
def reading(settings: Settings) -> Iterator["Cursor"]:
    """A cursor that may only read the tracking tables, each statement seeing what is committed.

    Raises TrackingError if they cannot be reached, or not be read.
    """
    connection = connect(
        settings.tracking_url,
        setting=settings.tracking_setting,
        purpose="status",
        error=TrackingError,
        read_only=True,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        try:
            yield cursor
        except psycopg2.Error as error:
            raise TrackingError(
                f"cannot read the tracking tables in the database of {settings.tracking_setting}: "
                f"{one_line(error)} (try again, and see: sync-pipeline doctor)"
            ) from error


def follow(settings: Settings, batch: str, over: Callable[[], bool]) -> Iterator[BatchProgress]:
    """Yield the batch with this id or key each time its record has changed, until `over`.

    What it is in the end is always yielded. While the tables cannot be reached it waits.
    """
    last: BatchProgress | None = None
    while True:
        ended = over()  # asked first, so that what is read next is the end of it
        try:
            with reading(settings) as cursor:
                while True:
                    found = reports.progress(cursor, batch)
                    if found is not None and (last is None or _changed(found, last)):
                        last = found
                        yield found
                    if ended:
                        return
                    time.sleep(_LOOK_SECONDS)
                    ended = over()
        except TrackingError:
            if ended:
                return
            time.sleep(_LOOK_AGAIN_SECONDS)


def _changed(now: BatchProgress, before: BatchProgress) -> bool:
    return (now.remarks, now.status, now.total_records) != (
        before.remarks,
        before.status,
        before.total_records,
    )
