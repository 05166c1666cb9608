"""`CircuitBreaker`: decide when to stop a batch early. All threads of a batch share one.

Does not stop the workers: they check `tripped_by` before each day; see `days.py` and `pool.py`.
"""

import threading

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SyncError, UnreachableError, one_line
from sync_pipeline.retry import is_transient

MAX_FAILED_IN_A_ROW = 3
"""If this many consecutive days fail with transient errors on every attempt, the remaining days are
not run. Days that run in parallel count as one."""


class CircuitBreaker:
    """Decides when a batch has to stop early. `tripped_by` is the reason to stop it, or None."""

    def __init__(self, dataset: Dataset) -> None:
        self.tripped_by: SyncError | None = None
        self._dataset = dataset
        self._in_a_row = 0
        self._max_in_a_row = MAX_FAILED_IN_A_ROW + dataset.parallel_days - 1
        self._lock = threading.Lock()

    def day_succeeded(self) -> None:
        """Reset the count of consecutive failures."""
        with self._lock:
            self._in_a_row = 0

    def day_failed(self, error: Exception, *secrets: str) -> None:
        """Count a failed day, and trip if a database is unreachable or the maximum is reached."""
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if is_transient(error) else 0
            if self.tripped_by is None and isinstance(error, UnreachableError):
                self.tripped_by = error
            if self.tripped_by is None and self._in_a_row >= self._max_in_a_row:
                self.tripped_by = SyncError(
                    f"dataset {self._dataset.name}: {self._in_a_row} days in a row failed on every "
                    f"attempt: {one_line(error, *secrets)}"
                )
