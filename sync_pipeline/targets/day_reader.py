"""`DayReader`: a thread that reads one day from a source while another thread loads it.

Does not load rows: see `postgres.py`.
"""

import threading
from contextlib import suppress
from datetime import date

from sync_pipeline.sources.base import CopyFormat, Source
from sync_pipeline.targets.pipe import Pipe, PipeClosedError, PipeFailedError

_CANCEL_AGAIN_SECONDS = 0.2


class DayReader(threading.Thread):
    """Reads one day from a source into `pipe`. `rows` is the source's row count, set at the end."""

    def __init__(self, source: Source, day: date, copy_format: CopyFormat) -> None:
        super().__init__(name=f"read {day}", daemon=True)
        self.pipe = Pipe()
        self.rows = 0
        self.source = source
        self.copy_format = copy_format
        self.day = day
        self._error: BaseException | None = None

    def run(self) -> None:
        out = self.pipe.writer()
        try:
            self.rows = self.source.read_day(self.day, out, self.copy_format)
            out.flush()
        except BaseException as error:
            self._error = error
        self.pipe.end(failed=self._error is not None)
        with suppress(PipeClosedError):
            out.close()  # after a failure, discards the rest of the buffer

    def stop(self) -> None:
        """Cancel the read, if it is still running, and wait for the thread to end."""
        self.pipe.close()
        while self.is_alive():
            # Repeat: a cancellation that arrives before the statement starts has no effect.
            self.source.cancel()
            self.join(_CANCEL_AGAIN_SECONDS)

    def raise_if_first(self) -> None:
        """Raise the source's error or a signal handler's exception if that made the load fail."""
        cause = self.pipe.interruption
        if isinstance(cause, PipeFailedError) and self._error is not None:
            context = self._error.__context__
            try:
                raise self._error
            finally:
                # `raise` replaced the context; `is_transient` needs the original one.
                self._error.__context__ = context
        if cause is not None:
            raise cause
