"""Several days of one dataset at once: workers in threads, each with connections of its own.

Each day is the same transaction as ever. What is special here is how the threads end: when the days
are done, when source or target is gone, or when whoever asked for the days stops.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from queue import SimpleQueue

from sync_pipeline.sync.result import DayResult
from sync_pipeline.sync.worker import DayWorker

_STOP_AGAIN_SECONDS = 0.2


class WorkerPool:
    """Workers at the same days, of which the first has source and target open. The caller closes
    them."""

    def __init__(self, workers: Sequence[DayWorker], days: Sequence[date]) -> None:
        self._workers = workers
        self._waiting = deque(days)
        self._said: SimpleQueue[DayResult | BaseException | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, args=[worker], daemon=True) for worker in workers
        ]

    @property
    def left(self) -> list[date]:
        """The days that nobody began."""
        return list(self._waiting)

    def results(self) -> Iterator[DayResult]:
        """Yield each day's result as it is known.

        If the caller stops, the days in work are rolled back and recorded as failed before this
        returns. Raises WorkerLostError when this process was taken for lost.
        """
        at_work = len(self._threads)
        try:
            for thread in self._threads:
                thread.start()
            while at_work:
                said = self._said.get()
                if said is None:
                    at_work -= 1
                elif isinstance(said, BaseException):
                    raise said
                else:
                    yield said
        finally:
            self._stop()

    def _run(self, worker: DayWorker) -> None:
        """What a thread does. A worker that gets no connection leaves the days to the others."""
        try:
            if worker is self._workers[0] or worker.opens():
                self._work(worker)
        except BaseException as error:
            self._said.put(error)
        self._said.put(None)

    def _work(self, worker: DayWorker) -> None:
        while worker.tripped_by is None and not worker.stopped:
            try:
                day = self._waiting.popleft()
            except IndexError:
                return
            self._said.put(worker.sync_day(day, refresh=False))

    def _stop(self) -> None:
        for worker in self._workers:  # all of them first, so that none begins another day
            worker.stop()
        for worker, thread in zip(self._workers, self._threads, strict=True):
            while thread.is_alive():
                # Again and again: a cancellation that arrives between statements has no effect.
                worker.stop()
                thread.join(_STOP_AGAIN_SECONDS)
