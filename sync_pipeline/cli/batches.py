"""A batch on the terminal: run here and shown live, followed, or shown with its failed days."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from sync_pipeline.cli.console import errors, out, print_error
from sync_pipeline.cli.follow import follow
from sync_pipeline.cli.launch import BatchRequest, LaunchedBatch, launched_batch
from sync_pipeline.cli.render import (
    batch_bar,
    failed_days_table,
    record_table,
    set_aside_text,
    small_days_text,
    to_json,
)
from sync_pipeline.errors import RequestError, TrackingError
from sync_pipeline.exit_codes import ExitCode
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import read_tracking
from sync_pipeline.tracking.models import AttemptState, BatchProgress
from sync_pipeline.tracking.read import day_checks, reports


def run_batch(settings: Settings, request: BatchRequest, *, as_json: bool) -> ExitCode:
    """Run a batch, show its progress and its record, say how it ended; return the exit code."""
    shown = errors if as_json else out
    with launched_batch(settings, request) as batch:
        shown.print(f"batch {batch.batch_key}, Dagster run {batch.run_id}", soft_wrap=True)
        with batch_bar(shown) as bar, _signals_cancel(batch) as signals:
            for progress in follow(settings, batch.record, batch.is_over):
                bar.show(progress)
    record = show_batch(settings, batch.record, as_json=as_json)
    if record is not None:
        if not as_json:
            _show_small_days(settings, batch, record)
        return _end(batch, record, cancelled=bool(signals))
    if signals:
        print_error("the batch was cancelled before it began; nothing was written")
        return ExitCode.CANCELLED
    raise TrackingError(
        f"the batch has no record that could be read; Dagster's run {batch.run_id} says how it "
        f"ended{f': {batch.error}' if batch.error else ''}"
    )


@contextmanager
def _signals_cancel(batch: LaunchedBatch) -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM cancel `batch` in order; yield the list of those that came."""
    came: list[int] = []

    def cancel(number: int, frame: FrameType | None) -> None:
        came.append(number)
        batch.cancel()

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_small_days(settings: Settings, batch: LaunchedBatch, record: BatchProgress) -> None:
    with read_tracking(settings) as cursor:
        days = reports.days_of_batch(cursor, record.id)
        loaded = [day.sync_date for day in days if day.state is AttemptState.SUCCESS]
        small = day_checks.small_days(cursor, record.dataset, loaded, batch.warn_below)
    said = small_days_text(small)
    if said is not None:
        out.print(said, soft_wrap=True)


def _end(batch: LaunchedBatch, record: BatchProgress, *, cancelled: bool) -> ExitCode:
    """Say in one line why a batch that is over did not go well; return the exit code."""
    why = record.error_message or batch.error
    if cancelled:
        why = why or "too late, all of its days are in"
        print_error(f"dataset {record.dataset}: batch {record.id} was cancelled: {why}")
        return ExitCode.CANCELLED
    if record.status == "success" and batch.process.returncode == ExitCode.OK:
        return ExitCode.OK
    why = why or f"see Dagster run {batch.run_id}"
    print_error(f"dataset {record.dataset}: batch {record.id} failed: {why}")
    return ExitCode.FAILED


def follow_batch(settings: Settings, key: str, console: Console) -> None:
    """Show a batch live until it is over."""

    def over() -> bool:
        with read_tracking(settings) as cursor:
            found = reports.progress(cursor, key)
        return found is None or found.status != "syncing"

    with batch_bar(console) as bar:
        for progress in follow(settings, key, over):
            bar.show(progress)


def latest_batch(settings: Settings) -> str:
    """Return the id of the latest batch. Raises RequestError if there is none."""
    with read_tracking(settings) as cursor:
        found = reports.recent_batches(cursor, 1)
    if not found:
        raise RequestError("there is no batch to follow yet")
    return str(found[0].id)


def show_batch(settings: Settings, key: str, *, as_json: bool) -> BatchProgress | None:
    """Print the batch's record, its failed days, and of which days rows were set aside; return the
    record, None if there is none."""
    with read_tracking(settings) as cursor:
        batch = reports.progress(cursor, key)
        days = [] if batch is None else reports.days_of_batch(cursor, batch.id)
    if batch is None:
        return None
    if as_json:
        print(to_json(batch, days))  # noqa: T201  rich would fold long lines
        return batch
    out.print(record_table(batch))
    if batch.failed_count:
        out.print(failed_days_table(days))
    set_aside = set_aside_text(batch, days)
    if set_aside is not None:
        out.print(set_aside, soft_wrap=True)
    return batch
