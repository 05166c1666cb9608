"""How batches are shown on a terminal: a bar while one runs, tables, and JSON for scripts.

The JSON is a promise (docs/operations.md): fields are added, never renamed or removed. Times are
ISO 8601 with their offset.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from sync_pipeline.tracking.models import BatchProgress, SmallDay
from sync_pipeline.tracking.read.reports import DayOfBatch

_MAX_NAMED = 20
_STYLES = {"success": "green", "failed": "red", "syncing": "cyan", "skipped": "dim"}


class BatchBar:
    """A live bar of one batch: days, rows, rows per second, time left."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, batch: BatchProgress) -> None:
        """Draw the batch as it is now."""
        self._progress.update(
            self._task,
            description=f"{batch.dataset} {batch.start_date} … {batch.end_date}",
            completed=batch.done_days,
            total=batch.total_days,
            rows=f"{batch.total_records:,} rows",
            rate=f"{batch.rows_per_second or 0:,.0f} rows/s",
            left="" if batch.eta_seconds is None else f"{_duration(batch.eta_seconds)} left",
            failed=f"[red]{batch.failed_count} failed[/]" if batch.failed_count else "",
        )


@contextmanager
def batch_bar(console: Console) -> Iterator[BatchBar]:
    """Yield a bar that is drawn on `console` as long as the block lasts."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f} days"),
        TextColumn("{task.fields[rows]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[failed]}"),
        console=console,
    )
    with progress:
        task = progress.add_task("starting", total=1, rows="", rate="", left="", failed="")
        yield BatchBar(progress, task)


def record_table(batch: BatchProgress) -> Table:
    """Return the batch's record as a table, one column of `daily_sync_status` a line."""
    table = Table(
        title=f"daily_sync_status, id {batch.id}", show_header=False, title_justify="left"
    )
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    shown = {
        "dataset": batch.dataset,
        "sync_date": batch.sync_date,
        "status": Text(batch.status, _STYLES[batch.status]),
        "total_records": f"{batch.total_records:,}",
        "success_count": batch.success_count,
        "failed_count": batch.failed_count,
        "skipped_count": batch.skipped_count,
        "remarks": batch.remarks,
        "error_message": batch.error_message,
        "start_time": _moment(batch.start_time),
        "end_time": _moment(batch.end_time),
        "duration_seconds": batch.duration_seconds,
        "rows per second": f"{batch.rows_per_second or 0:,.0f}",
        "run_id": batch.run_id,
        "triggered_by": batch.triggered_by,
    }
    for name, value in shown.items():
        # Never a plain str: rich would read an error's [brackets] as markup.
        table.add_row(name, value if isinstance(value, Text) else Text(_said(value)))
    return table


def batches_table(batches: Iterable[BatchProgress]) -> Table:
    """Return batches, one a line."""
    table = Table(title="batches, the latest first", title_justify="left")
    for heading in ("id", "dataset", "days", "status", "done"):
        table.add_column(heading, no_wrap=heading != "dataset")
    for heading in ("rows", "rows/s"):
        table.add_column(heading, no_wrap=True, justify="right")
    for batch in batches:
        table.add_row(
            str(batch.id),
            batch.dataset,
            f"{batch.start_date} … {batch.end_date}",
            f"[{_STYLES[batch.status]}]{batch.status}[/]",
            f"{batch.done_days}/{batch.total_days}",
            f"{batch.total_records:,}",
            f"{batch.rows_per_second or 0:,.0f}",
        )
    return table


def failed_days_table(days: Iterable[DayOfBatch]) -> Table:
    """Return the days that failed, with their errors; empty if none did."""
    table = Table(title="failed days", title_justify="left")
    for heading in ("day", "attempt", "error"):
        table.add_column(heading, overflow="fold")
    for day in days:
        if day.error_message is not None:
            error = Text(day.error_message)
            table.add_row(str(day.sync_date), str(day.attempt or "not run"), error)
    return table


def set_aside_text(batch: BatchProgress, days: Iterable[DayOfBatch]) -> Text | None:
    """Return how many rows of which days were set aside, and where they are; None if none was."""
    counts = {day.sync_date: day.rows_rejected for day in days if day.rows_rejected}
    if not counts:
        return None
    named = _listed([f"{day} ({count:,})" for day, count in counts.items()])
    return Text(
        f"rows set aside: {sum(counts.values()):,}, of {named}. They are in sync_rejected_row of "
        f"the target, with the reason; mend it, then: sync-pipeline replay {batch.dataset}",
        "yellow",
    )


def small_days_text(days: Iterable[SmallDay]) -> Text | None:
    """Return which days are suddenly small; None if none is."""
    named = [f"{one.day} ({one.rows:,} rows, usual are {one.usual:,.0f})" for one in days]
    return Text(f"suddenly small: {_listed(named)}", "yellow") if named else None


def to_json(batch: BatchProgress, days: Sequence[DayOfBatch] | None = None) -> str:
    """Return a batch, with its days if they are given, as one JSON object."""
    value = asdict(batch)
    if days is not None:
        value["days"] = [asdict(day) for day in days]
    return json.dumps(value, default=_plain, ensure_ascii=False)


def list_to_json(batches: Iterable[BatchProgress]) -> str:
    """Return batches as one JSON list."""
    return json.dumps([asdict(b) for b in batches], default=_plain, ensure_ascii=False)


def _plain(value: object) -> str:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _listed(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - _MAX_NAMED} more days" if len(texts) > _MAX_NAMED else ""
    return ", ".join(texts[:_MAX_NAMED]) + more


def _said(value: object) -> str:
    return "" if value is None else str(value)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S %z}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
