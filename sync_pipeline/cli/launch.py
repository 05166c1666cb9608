"""Launch a batch from the command line in a separate process.

That process runs `orchestration/run_batch.py`; this module does not import dagster.
"""

import getpass
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from sync_pipeline.cli.worker_process import WorkerProcess, start_worker
from sync_pipeline.dagster_client.storage import connect_to_storage
from sync_pipeline.dagster_client.tags import COMMAND_LINE_SUFFIX
from sync_pipeline.errors import RequestError, StackError
from sync_pipeline.exit_codes import ExitCode
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import BatchProgress
from sync_pipeline.tracking.retryable_batches import RetryRefusedError, check_retry
from sync_pipeline.tracking.worker.tracker import Tracker


@dataclass(frozen=True)
class BatchRequest:
    """A request to sync a day range of a dataset, both ends included.

    If `resync` is true, days that are already synced are synced again. If `failed` is set, the
    unfinished days of that batch are retried under its existing record.
    """

    dataset: str | None
    start: date
    end: date
    resync: bool = False
    failed: BatchProgress | None = None


@dataclass
class LaunchedBatch:
    """A batch that runs in a separate process. `record` is the ID or key of its record.

    `error` is set if the process fails for any reason other than failed days.
    """

    batch_key: str
    record: str
    run_id: str
    dataset: str
    process: "subprocess.Popen[str]"
    error: str | None = None

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self.process.poll() is not None

    def cancel(self) -> None:
        """Cancel the batch: its running days are rolled back, and the record says who
        cancelled it."""
        _send(self.process, "cancel")


def retry_request(batch: BatchProgress) -> BatchRequest:
    """Return a request that retries `batch`.

    Raises RequestError if it cannot be retried; the message suggests what to run instead.
    """
    days = f"{batch.dataset} {batch.start_date} {batch.end_date}"
    advice = {
        "batch_running": f"follow it: sync-pipeline status {batch.id} --follow",
        "unmanaged_batch": f"sync its days: sync-pipeline backfill {days}",
        "nothing_unfinished": f"to sync all days again: sync-pipeline backfill {days} --resync",
    }
    try:
        check_retry(batch)
    except RetryRefusedError as error:
        raise RequestError(f"{error}; {advice[error.code]}", error.code, id=batch.id) from None
    resync = batch.already_synced == "resync"
    return BatchRequest(batch.dataset, batch.start_date, batch.end_date, resync, batch)


@contextmanager
def launch_batch(settings: Settings, request: BatchRequest) -> Iterator[LaunchedBatch]:
    """Launch a batch in a separate process; yield it once its Dagster run is created.

    `settings` come from `local.stack.prepare_databases`. Leaving the block early cancels the batch
    and waits until it has ended. Raises RequestError if the request is not valid, or StackError if
    the process fails.
    """
    # Check the connection first: Dagster would retry for 15 s, and its error gives no reason.
    with closing(connect_to_storage(settings, "launch")):
        pass
    key = f"cli-{uuid.uuid4()}"
    if request.failed is not None and request.failed.batch_key is not None:
        key = request.failed.batch_key
    worker = start_worker()
    process = worker.process
    batch: LaunchedBatch | None = None
    try:
        batch = _start(settings, request, key, worker)
        yield batch
    finally:
        _send(process, "cancel")
        output, _ = process.communicate()
        worker.errors.close()
        if batch is not None and process.returncode != ExitCode.OK:
            batch.error = _parse(output).get("error")
            _close(settings, batch)


def _start(
    settings: Settings, request: BatchRequest, key: str, worker: WorkerProcess
) -> LaunchedBatch:
    config = {
        "start_date": request.start.isoformat(),
        "end_date": request.end.isoformat(),
        "already_synced": "resync" if request.resync else "skip",
    }
    if request.dataset is not None:
        config["dataset"] = request.dataset
    message = {
        "environment": dict(settings.environment),
        "config": config,
        "batch_key": key,
        "triggered_by": f"{getpass.getuser()}{COMMAND_LINE_SUFFIX}",
        "retry": request.failed is not None,
    }
    process = worker.process
    assert process.stdout is not None  # noqa: S101  it is a pipe
    worker.is_waiting = False
    _send(process, json.dumps(message))
    response = _parse(process.stdout.readline())
    if "error" in response:
        refused = response["exit_code"] == ExitCode.REFUSED
        raise (RequestError if refused else StackError)(response["error"])
    if "run_id" not in response:
        process.wait()
        worker.errors.seek(0)
        lines = [line for line in worker.errors.read().splitlines() if line.strip()]
        raise StackError(f"the batch did not start: {lines[-1] if lines else 'no reason given'}")
    record = key if request.failed is None else str(request.failed.id)
    return LaunchedBatch(
        key,
        record,
        response["run_id"],
        response["dataset"],
        process,
    )


def _send(process: "subprocess.Popen[str]", line: str) -> None:
    """Send a line to the process, unless it has ended. Safe to call from a signal handler."""
    assert process.stdin is not None  # noqa: S101  it is a pipe
    with suppress(BrokenPipeError):
        os.write(process.stdin.fileno(), f"{line}\n".encode())


def _parse(line: str) -> dict[str, Any]:
    """Parse a message from the process; return {} if the process ended before completing it."""
    message: dict[str, Any] = {}
    with suppress(ValueError):
        message = json.loads(line)
    return message


def _close(settings: Settings, batch: LaunchedBatch) -> None:
    """Mark as not run any days that the process left unfinished; usually there are none."""
    code = batch.process.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if batch.error is not None:
        how += f": {batch.error}"
    with Tracker(settings, run_id=batch.run_id) as tracker:
        tracker.mark_batch_not_run(
            batch.batch_key, batch.dataset, f"the process of run {batch.run_id} {how}"
        )
