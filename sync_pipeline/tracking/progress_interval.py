"""How often a running batch updates its record. Its final record is always exact.

Does not write the record: see `state/batches.py`.
"""

import time
from collections.abc import Callable

from sync_pipeline.config.dataset import Every, Percent, Progress

_SHORT_BATCH_DAYS = 10
_LONG_BATCH_EVERY = 5
_MIN_SECONDS = 0.1


def days_between_writes(progress: Progress, total_days: int) -> int:
    """Return how many days a batch of `total_days` should finish between updates of its record.

    `auto` follows the specification's advice: 1 for batches of up to 10 days, 5 for longer ones. A
    percentage is rounded down to whole days, but never below one day.
    """
    if isinstance(progress, Every):
        return progress.days
    if isinstance(progress, Percent):
        return max(1, total_days * progress.percent // 100)
    if progress == "auto":
        return 1 if total_days <= _SHORT_BATCH_DAYS else _LONG_BATCH_EVERY
    return 1


class ProgressInterval:
    """When a batch of `total_days` updates its record while it is running.

    Days that take milliseconds do not each update the record of a long batch, even if `progress`
    says every day: it is updated at most ten times per second. If the days that follow take long,
    the next heartbeat updates it. `behind` is whether a day has finished since the last update.
    """

    def __init__(
        self,
        progress: Progress,
        total_days: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behind = False
        self._every = days_between_writes(progress, total_days)
        self._limited = self._every == 1 and total_days > _SHORT_BATCH_DAYS
        self._clock = clock
        self._written_at: float | None = None

    def is_due(self, number: int) -> bool:
        """Return whether the record is to be updated with the day that finishes as the `number`-th,
        counted from 1; if so, the caller updates it."""
        now = self._clock()
        due = number % self._every == 0
        if self._limited and self._written_at is not None:
            due = now - self._written_at >= _MIN_SECONDS
        if due:
            self._written_at = now
        self.behind = not due
        return due
