"""Watching a batch by its record, from any process, however the batch was launched."""

import time
from collections.abc import Callable, Iterator

from sync_pipeline.errors import TrackingError
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import read_tracking
from sync_pipeline.tracking.models import BatchProgress
from sync_pipeline.tracking.read import reports

_LOOK_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 2.0


def follow(settings: Settings, batch: str, over: Callable[[], bool]) -> Iterator[BatchProgress]:
    """Yield the batch with this id or key each time its record has changed, until `over`.

    What it is in the end is always yielded. While the tables cannot be reached it waits.
    """
    last: BatchProgress | None = None
    while True:
        ended = over()  # asked first, so that what is read next is the end of it
        try:
            with read_tracking(settings) as cursor:
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
