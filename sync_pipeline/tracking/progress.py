"""How often a batch's record is written while it runs. Its final state is always exact."""

from sync_pipeline.config.dataset import Every, Percent, Progress

_SHORT_BATCH_DAYS = 10
_LONG_BATCH_EVERY = 5


def days_between_writes(progress: Progress, total_days: int) -> int:
    """Return after how many finished days a batch of `total_days` writes its progress.

    `auto` is the specification's advice: batches of up to 10 days every day, longer ones every 5.
    A percentage is rounded down and is at least one day, so that short batches work too.
    """
    if isinstance(progress, Every):
        return progress.days
    if isinstance(progress, Percent):
        return max(1, total_days * progress.percent // 100)
    if progress == "auto":
        return 1 if total_days <= _SHORT_BATCH_DAYS else _LONG_BATCH_EVERY
    return 1
