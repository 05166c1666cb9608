"""Follow the record of a batch from any process, regardless of how the batch was launched."""

import time
from collections.abc import Callable, Iterator

from sync_pipeline.errors import TrackingError
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import read_tracking
from sync_pipeline.tracking.models import BatchProgress
from sync_pipeline.tracking.read import reports

_POLL_SECONDS = 0.1
_RECONNECT_SECONDS = 2.0


def follow(
    settings: Settings, batch: str, has_ended: Callable[[], bool]
) -> Iterator[BatchProgress]:
    """Yield the batch with this ID or key whenever its record changes, until `has_ended()` is true.

    The final record is always yielded. Waits while the tracking tables are unavailable.
    """
    last: BatchProgress | None = None
    while True:
        ended = has_ended()  # checked first, so that the last read returns the final record
        try:
            with read_tracking(settings) as cursor:
                while True:
                    found = reports.progress(cursor, batch)
                    if found is not None and (last is None or _changed(found, last)):
                        last = found
                        yield found
                    if ended:
                        return
                    time.sleep(_POLL_SECONDS)
                    ended = has_ended()
        except TrackingError:
            if ended:
                return
            time.sleep(_RECONNECT_SECONDS)


def _changed(now: BatchProgress, before: BatchProgress) -> bool:
    return (now.remarks, now.status, now.total_records) != (
        before.remarks,
        before.status,
        before.total_records,
    )
