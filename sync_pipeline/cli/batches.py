"""A batch on the terminal: run it, follow it, or show it with its failed days.

Does not format the output: see `render.py`. Does not start the batch's process: see `launch.py`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from sync_pipeline.cli.console import errors, out, print_error
from sync_pipeline.cli.follow import follow
from sync_pipeline.cli.launch import BatchRequest, LaunchedBatch, launch_batch
from sync_pipeline.cli.render import (
    batch_bar,
    failed_days_table,
    quarantined_text,
    record_table,
    to_json,
    warnings_text,
)
from sync_pipeline.errors import RequestError, TrackingError
from sync_pipeline.exit_codes import ExitCode
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.connection import read_tracking
from sync_pipeline.tracking.models import AttemptState, BatchProgress
from sync_pipeline.tracking.read import day_checks, reports


def run_batch(settings: Settings, request: BatchRequest, *, as_json: bool) -> ExitCode:
    """Run a batch and show its progress, then its record; return the exit code."""
    console = errors if as_json else out
    with launch_batch(settings, request) as batch, _cancel_on_signal(batch) as signals:
        console.print(f"batch {batch.batch_key}, Dagster run {batch.run_id}", soft_wrap=True)
        with batch_bar(console) as bar:
            for progress in follow(settings, batch.record, batch.has_ended):
                bar.show(progress)
    record = show_batch(settings, batch.record, as_json=as_json)
    if record is not None:
        if not as_json:
            _show_warnings(settings, record)
        return _print_end(batch, record, cancelled=bool(signals))
    if signals:
        print_error("the batch was cancelled before it started; nothing was written")
        return ExitCode.CANCELLED
    raise TrackingError(
        f"cannot read the record of the batch; see Dagster run {batch.run_id}"
        f"{f': {batch.error}' if batch.error else ''}"
    )


@contextmanager
def _cancel_on_signal(batch: LaunchedBatch) -> Iterator[list[int]]:
    """Cancel `batch` gracefully on Ctrl-C or SIGTERM; yield the list of received signals."""
    received: list[int] = []

    def cancel(number: int, frame: FrameType | None) -> None:
        received.append(number)
        batch.cancel()

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_warnings(settings: Settings, record: BatchProgress) -> None:
    with read_tracking(settings) as cursor:
        days = reports.days_of_batch(cursor, record.id)
        loaded = [day.sync_date for day in days if day.state is AttemptState.SUCCESS]
        warnings = day_checks.warnings(cursor, record.dataset, loaded)
    text = warnings_text(warnings)
    if text is not None:
        out.print(text, soft_wrap=True)


def _print_end(batch: LaunchedBatch, record: BatchProgress, *, cancelled: bool) -> ExitCode:
    """Print on one line why a batch did not succeed; return the exit code."""
    why = record.error_message or batch.error
    if cancelled:
        why = why or "all of its days had already been synced"
        print_error(f"dataset {record.dataset}: batch {record.id} was cancelled: {why}")
        return ExitCode.CANCELLED
    if record.status == "success" and batch.process.returncode == ExitCode.OK:
        return ExitCode.OK
    why = why or f"see Dagster run {batch.run_id}"
    print_error(f"dataset {record.dataset}: batch {record.id} failed: {why}")
    return ExitCode.FAILED


def follow_batch(settings: Settings, key: str, console: Console) -> None:
    """Show the progress of a batch until it ends."""

    def has_ended() -> bool:
        with read_tracking(settings) as cursor:
            found = reports.progress(cursor, key)
        return found is None or found.status != "syncing"

    with batch_bar(console) as bar:
        for progress in follow(settings, key, has_ended):
            bar.show(progress)


def latest_batch(settings: Settings) -> str:
    """Return the ID of the latest batch. Raises RequestError if there is none."""
    with read_tracking(settings) as cursor:
        found = reports.recent_batches(cursor, 1)
    if not found:
        raise RequestError(
            "there is no batch to follow yet; launch one with: "
            "sync-pipeline backfill DATASET START END"
        )
    return str(found[0].id)


def show_batch(settings: Settings, key: str, *, as_json: bool) -> BatchProgress | None:
    """Print the record of a batch, its failed days and its quarantined rows; return the record, or
    None if the batch does not exist."""
    with read_tracking(settings) as cursor:
        batch = reports.progress(cursor, key)
        days = [] if batch is None else reports.days_of_batch(cursor, batch.id)
    if batch is None:
        return None
    if as_json:
        print(to_json(batch, days))  # noqa: T201  rich would wrap long lines
        return batch
    out.print(record_table(batch))
    if batch.failed_count:
        out.print(failed_days_table(days))
    quarantined = quarantined_text(batch, days)
    if quarantined is not None:
        out.print(quarantined, soft_wrap=True)
    return batch
