"""`DayReader`: reads one day from a source in one thread while another thread loads it.

Does not load rows: see `postgres.py`.
"""

from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from datetime import date

from sync_pipeline.sources.base import CopyFormat, Source
from sync_pipeline.targets.pipe import Pipe, PipeClosedError, PipeFailedError

_CANCEL_AGAIN_SECONDS = 0.2


class DayReader:
    """Reads one day from a source into `pipe`, in a thread of `threads`; starts immediately.

    `rows` is the source's row count, set at the end.
    """

    def __init__(
        self, source: Source, day: date, copy_format: CopyFormat, threads: Executor
    ) -> None:
        self.pipe = Pipe()
        self.rows = 0
        self.source = source
        self.copy_format = copy_format
        self.day = day
        self._error: BaseException | None = None
        self._done: Future[None] = threads.submit(self._read)

    def wait(self) -> None:
        """Wait until the read has ended."""
        wait([self._done])

    def stop(self) -> None:
        """Cancel the read, if it is still running, and wait until it has ended."""
        self.pipe.close()
        while not self._done.done():
            # Repeat: a cancellation that arrives before the statement starts has no effect.
            self.source.cancel()
            wait([self._done], _CANCEL_AGAIN_SECONDS)

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

    def _read(self) -> None:
        out = self.pipe.writer()
        try:
            self.rows = self.source.read_day(self.day, out, self.copy_format)
            out.flush()
        except BaseException as error:
            self._error = error
        self.pipe.end(failed=self._error is not None)
        with suppress(PipeClosedError):
            out.close()  # after a failure, discards the rest of the buffer
