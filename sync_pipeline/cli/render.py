"""Output for batches: a progress bar and tables on a terminal, and JSON for scripts.

The JSON is documented in docs/operations.md: fields may be added, but are never renamed or removed.
Times are ISO 8601 with an offset. Does not read records: see `batches.py`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from sync_pipeline.errors import visible
from sync_pipeline.tracking.models import BatchProgress
from sync_pipeline.tracking.read.reports import DayOfBatch

_MAX_LISTED = 20
_STYLES = {"success": "green", "failed": "red", "syncing": "cyan", "skipped": "dim"}


class BatchBar:
    """The progress bar of a batch: days, rows, rows per second and remaining time."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, batch: BatchProgress) -> None:
        """Show the current progress of the batch."""
        self._progress.update(
            self._task,
            description=f"{visible(batch.dataset)} {batch.start_date} … {batch.end_date}",
            completed=batch.done_days,
            total=batch.total_days,
            rows=f"{batch.total_records:,} rows",
            rate=f"{batch.rows_per_second or 0:,.0f} rows/s",
            left="" if batch.eta_seconds is None else f"{_duration(batch.eta_seconds)} left",
            failed=f"[red]{batch.failed_count} failed[/]" if batch.failed_count else "",
        )


@contextmanager
def batch_bar(console: Console) -> Iterator[BatchBar]:
    """Yield a progress bar that is shown on `console` while the block runs."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
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
    """Return a batch's record as a table that has one line per column of `daily_sync_status`."""
    table = Table(
        title=f"daily_sync_status, id {batch.id}", show_header=False, title_justify="left"
    )
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    values = {
        "dataset": batch.dataset,
        "sync_date": batch.sync_date,
        "status": Text(batch.status, _STYLES[batch.status]),
        "total_records": f"{batch.total_records:,}",
        "success_count": batch.success_count,
        "failed_count": batch.failed_count,
        "skipped_count": batch.skipped_count,
        "remarks": batch.remarks,
        "error_message": batch.error_message,
        "start_time": _format_time(batch.start_time),
        "end_time": _format_time(batch.end_time),
        "duration_seconds": batch.duration_seconds,
        "rows per second": f"{batch.rows_per_second or 0:,.0f}",
        "run_id": batch.run_id,
        "triggered_by": batch.triggered_by,
    }
    for name, value in values.items():
        table.add_row(name, value if isinstance(value, Text) else _text(value))
    return table


def batches_table(batches: Iterable[BatchProgress]) -> Table:
    """Return a table of batches, one per line."""
    table = Table(title="batches, latest first", title_justify="left")
    for heading in ("id", "dataset", "days", "status", "done"):
        table.add_column(heading, no_wrap=heading != "dataset")
    for heading in ("rows", "rows/s"):
        table.add_column(heading, no_wrap=True, justify="right")
    for batch in batches:
        table.add_row(
            str(batch.id),
            _text(batch.dataset),
            f"{batch.start_date} … {batch.end_date}",
            f"[{_STYLES[batch.status]}]{batch.status}[/]",
            f"{batch.done_days}/{batch.total_days}",
            f"{batch.total_records:,}",
            f"{batch.rows_per_second or 0:,.0f}",
        )
    return table


def failed_days_table(days: Iterable[DayOfBatch]) -> Table:
    """Return a table of the failed days with their errors."""
    table = Table(title="failed days", title_justify="left")
    for heading in ("day", "attempt", "error"):
        table.add_column(heading, overflow="fold")
    for day in days:
        if day.error_message is not None:
            error = _text(day.error_message)
            table.add_row(str(day.sync_date), str(day.attempt or "not run"), error)
    return table


def quarantined_text(batch: BatchProgress, days: Iterable[DayOfBatch]) -> Text | None:
    """Return a summary of the quarantined rows by day, or None if there are none."""
    counts = {day.sync_date: day.rows_rejected for day in days if day.rows_rejected}
    if not counts:
        return None
    total = sum(counts.values())
    listed = _join([f"{day} ({count:,})" for day, count in counts.items()])
    return Text(
        f"quarantined rows: {total:,}, from {listed}. They are in sync_rejected_row in the target, "
        f"with the reason; fix the cause, then run: sync-pipeline replay {visible(batch.dataset)}",
        "yellow",
    )


def warnings_text(days: Mapping[date, str]) -> Text | None:
    """Return one line listing the days with a warning, or None if there are none."""
    texts = [f"{day} ({visible(warning)})" for day, warning in days.items()]
    return Text(f"warnings: {_join(texts)}", "yellow") if texts else None


def to_json(batch: BatchProgress, days: Sequence[DayOfBatch] | None = None) -> str:
    """Return a batch as a JSON object, with its days if they are given."""
    value = asdict(batch)
    if days is not None:
        value["days"] = [asdict(day) for day in days]
    return json.dumps(value, default=_to_json_value, ensure_ascii=False)


def list_to_json(batches: Iterable[BatchProgress]) -> str:
    """Return batches as a JSON list."""
    return json.dumps([asdict(b) for b in batches], default=_to_json_value, ensure_ascii=False)


def _to_json_value(value: object) -> str:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be converted to JSON")


def _join(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - _MAX_LISTED} more days" if len(texts) > _MAX_LISTED else ""
    return ", ".join(texts[:_MAX_LISTED]) + more


def _text(value: object) -> Text:
    """Return a value from a record. It is never a plain str, because rich would interpret
    [brackets] in an error as markup, and the terminal would obey control characters."""
    return Text("" if value is None else visible(str(value)))


def _format_time(value: datetime | None) -> str:
    return "" if value is None else f"{value.astimezone():%Y-%m-%d %H:%M:%S %z}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
