"""The texts of `remarks`, exactly as in the specification, and a batch's error message.

Consumers select batches by 批量同步 and parse the numbers in these texts. The remarks of a day
never contain 批量同步, not even in a quoted error. Does not compute the numbers: see `batches.py`.
"""

from collections.abc import Sequence
from datetime import date

from sync_pipeline.tracking.models import Counts, DayCounts, day_ranges

BATCH_MARK = "批量同步"
_MAX_RANGES = 20


def batch_opened(start: date, end: date, total_days: int) -> str:
    return f"{BATCH_MARK}: {start} 至 {end}, 共{total_days}天"


def batch_progress(counts: Counts) -> str:
    return f"{BATCH_MARK}进度: {counts.done}/{counts.total}天, {_split(counts)}"


def batch_finished(start: date, end: date, counts: Counts, seconds: int) -> str:
    return (
        f"{BATCH_MARK}完成: {start}至{end}, 共{counts.total}天, {_split(counts)}, "
        f"耗时{seconds // 60}分{seconds % 60}秒"
    )


def batch_failed(error: str) -> str:
    return f"{BATCH_MARK}失败: {error}"


def day_started(day: date) -> str:
    return f"单日同步: {day}"


def day_finished(day: date, counts: DayCounts) -> str:
    return (
        f"单日同步完成: {day}, 读取{counts.rows_read}行, 写入{counts.rows_loaded}行, "
        f"拒绝{counts.rows_rejected}行"
    )


def day_failed(error: str) -> str:
    return f"单日同步失败: {without_batch_mark(error)}"


def without_batch_mark(text: str) -> str:
    """Return `text` with a space inserted into 批量同步, the mark of a batch's remarks, so that the
    remarks of a day can quote `text`."""
    return text.replace(BATCH_MARK, "批量 同步")


def failed_days(
    days: Sequence[date],
    total: int,
    first_error: str,
    *,
    not_run: Sequence[date] = (),
    stop_reason: str | None = None,
) -> str:
    """Return a batch's error message: the number and dates of the failed days, the first error,
    which of the days were not run, and why (unless the first error already says so)."""
    text = f"{len(days)} of {total} days failed: {_named(days)}. First: {first_error}"
    if not_run:
        which = "None was run" if len(not_run) == len(days) else f"Not run: {_named(not_run)}"
        text = f"{text.removesuffix('.')}. {which}"
    if stop_reason is None or stop_reason in first_error:
        return text
    return f"{text}: {stop_reason}"


def _named(days: Sequence[date]) -> str:
    ranges = [str(a) if a == b else f"{a}..{b}" for a, b in day_ranges(days)]
    named = ", ".join(ranges[:_MAX_RANGES])
    if len(ranges) > _MAX_RANGES:
        named += f", and {len(ranges) - _MAX_RANGES} more ranges"
    return named


def _split(counts: Counts) -> str:
    return f"成功{counts.success}, 失败{counts.failed}, 跳过{counts.skipped}"
