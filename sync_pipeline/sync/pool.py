"""`WorkerPool`: sync several days of one dataset in parallel, each in its own thread.

The threads end when all days are done, when the circuit breaker trips, or when the caller stops.
Does not sync individual days: see `day.py`.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from queue import SimpleQueue

from sync_pipeline.sync.connections import WorkerConnections
from sync_pipeline.sync.day import DaySync
from sync_pipeline.sync.result import DayResult

_STOP_AGAIN_SECONDS = 0.2


class WorkerPool:
    """Workers that share a queue of days, each with its own thread and connections. The first
    worker must have its source and target open; the caller closes all workers."""

    def __init__(self, workers: Sequence[WorkerConnections], days: Sequence[date]) -> None:
        self._workers = workers
        self._waiting = deque(days)
        self._results: SimpleQueue[DayResult | BaseException | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, args=[worker], daemon=True) for worker in workers
        ]

    @property
    def not_started(self) -> list[date]:
        """The days that no worker has started."""
        return list(self._waiting)

    def results(self) -> Iterator[DayResult]:
        """Yield each day's result as soon as it is known.

        If the caller stops, the days in progress are rolled back and recorded as failed before this
        returns. Raises WorkerLostError if this process was declared lost.
        """
        running = len(self._threads)
        try:
            for thread in self._threads:
                thread.start()
            while running:
                result = self._results.get()
                if result is None:
                    running -= 1
                elif isinstance(result, BaseException):
                    raise result
                else:
                    yield result
        finally:
            self._stop()

    def _run(self, worker: WorkerConnections) -> None:
        """Sync days in a thread. If the worker cannot connect, the other workers sync the days."""
        try:
            if worker is self._workers[0] or worker.try_open():
                self._sync_days(worker)
        except BaseException as error:
            self._results.put(error)
        self._results.put(None)

    def _sync_days(self, worker: WorkerConnections) -> None:
        while worker.job.breaker.tripped_by is None and not worker.stopped:
            try:
                day = self._waiting.popleft()
            except IndexError:
                return
            self._results.put(DaySync(worker, day).run())

    def _stop(self) -> None:
        for worker in self._workers:  # stop all before joining any, so that none starts another day
            worker.stop()
        for worker, thread in zip(self._workers, self._threads, strict=True):
            while thread.is_alive():
                # Repeat: a cancellation that arrives between two statements has no effect.
                worker.stop()
                thread.join(_STOP_AGAIN_SECONDS)
