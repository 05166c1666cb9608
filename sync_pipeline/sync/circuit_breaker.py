"""When the rest of a batch is not worth a try: a circuit breaker for all threads at it together."""

import threading

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SyncError, UnreachableError, one_line
from sync_pipeline.retry import is_transient

MAX_FAILED_IN_A_ROW = 3
"""After so many days in a row that failed for transient errors in all of their tries, the days
after them are not tried. Those that were at work at the same time count as one."""


class CircuitBreaker:
    """`broken_by` says why the days that nobody began are not to be tried; None if they are."""

    def __init__(self, dataset: Dataset) -> None:
        self.tripped_by: SyncError | None = None
        self._dataset = dataset
        self._in_a_row = 0
        self._most = MAX_FAILED_IN_A_ROW + dataset.parallel_days - 1
        self._lock = threading.Lock()

    def day_succeeded(self) -> None:
        """Count anew from here on."""
        with self._lock:
            self._in_a_row = 0

    def day_failed(self, error: Exception, *secrets: str) -> None:
        """Find out from a day's error whether those after it are worth a try."""
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if is_transient(error) else 0
            if self.tripped_by is None and isinstance(error, UnreachableError):
                self.tripped_by = error
            if self.tripped_by is None and self._in_a_row >= self._most:
                self.tripped_by = SyncError(
                    f"dataset {self._dataset.name}: {self._in_a_row} days in a row failed in "
                    f"all of their tries: {one_line(error, *secrets)}"
                )
