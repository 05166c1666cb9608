"""Reading one day of a source, beside the thread that loads it."""

import threading
from contextlib import suppress
from datetime import date

from sync_pipeline.sources.base import CopyFormat, Source
from sync_pipeline.targets.pipe import Stream, StreamClosedError, StreamFailedError

_CANCEL_AGAIN_SECONDS = 0.2


class Reading(threading.Thread):
    """Reads one day of a source into a stream, beside the thread that loads it."""

    def __init__(self, source: Source, day: date, copy_format: CopyFormat) -> None:
        super().__init__(name=f"read {day}", daemon=True)
        self.stream = Stream()
        self.rows = 0
        self.source = source
        self.copy_format = copy_format
        self.day = day
        self._error: BaseException | None = None

    def run(self) -> None:
        out = self.stream.writer()
        try:
            self.rows = self.source.read_day(self.day, out, self.copy_format)
            out.flush()
        except BaseException as error:
            self._error = error
        self.stream.end(failed=self._error is not None)
        with suppress(StreamClosedError):
            out.close()  # what a failed read left in the buffer must not be written

    def stop(self) -> None:
        """Break the read off, if it is not over, and wait for its end."""
        self.stream.close()
        while self.is_alive():
            # Again and again: a cancellation that arrives before the statement has no effect.
            self.source.cancel()
            self.join(_CANCEL_AGAIN_SECONDS)

    def raise_if_first(self) -> None:
        """Raise what made the load fail if that was not the target: the source, or a signal."""
        cause = self.stream.interruption
        if isinstance(cause, StreamFailedError) and self._error is not None:
            came_from = self._error.__context__
            try:
                raise self._error
            finally:
                # Else it would seem to come from what it made of the load; see `is_transient`.
                self._error.__context__ = came_from
        if cause is not None:
            raise cause
