"""How often a running batch updates its record. Its final record is always exact.

Does not write the record: see `state/batches.py`.
"""

from sync_pipeline.config.dataset import Every, Percent, Progress

_SHORT_BATCH_DAYS = 10
_LONG_BATCH_EVERY = 5


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
