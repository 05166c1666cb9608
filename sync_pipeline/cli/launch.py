"""Launching a batch from the command line: its own process, which is followed and can be ended.

The process is `orchestration.run_batch`; this side never imports dagster.
"""

import getpass
import json
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import IO, Any

from sync_pipeline.dagster_client.storage import connect_to_storage
from sync_pipeline.dagster_client.tags import COMMAND_LINE_SUFFIX
from sync_pipeline.errors import RequestError, StackError
from sync_pipeline.exit_codes import ExitCode
from sync_pipeline.local.processes import end_with_parent
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import BatchProgress
from sync_pipeline.tracking.retry_rules import RetryRefusedError, check_retry
from sync_pipeline.tracking.worker.tracker import Tracker


@dataclass(frozen=True)
class BatchRequest:
    """A range of days of a dataset, both ends included; `resync` does again what is in already.

    With `failed`, a batch's record, the unfinished days of that batch are done, in that record.
    """

    dataset: str | None
    start: date
    end: date
    resync: bool = False
    failed: BatchProgress | None = None


@dataclass
class LaunchedBatch:
    """A batch at work in its own process. `record`, an id or a key, finds its record.

    `error` is set at the end: what its process could not go on with, other than days that failed.
    """

    batch_key: str
    record: str
    run_id: str
    dataset: str
    total_days: int
    warn_below: float
    process: "subprocess.Popen[str]"
    error: str | None = None

    def is_over(self) -> bool:
        """Return whether its process has ended."""
        return self.process.poll() is not None

    def cancel(self) -> None:
        """Ask it to stop: the day in work rolls back, and the record says who stopped it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)


def retry_of(batch: BatchProgress) -> BatchRequest:
    """Return the request that retries `batch`. Raises RequestError, with the command that helps."""
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
def launched_batch(settings: Settings, request: BatchRequest) -> Iterator[LaunchedBatch]:
    """Launch a batch in a process of its own; yield it once Dagster has its run.

    `settings` come from `stack.databases`. Leaving the block early cancels the batch, and waits
    for its end. Raises RequestError for what cannot be done, StackError if the process fails.
    """
    # Dagster itself would try for 15 s, and then not say what is wrong.
    with closing(connect_to_storage(settings, "launch")):
        pass
    key = f"cli-{uuid.uuid4()}"
    if request.failed is not None and request.failed.batch_key is not None:
        key = request.failed.batch_key
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline.orchestration.run_batch"],
            env=dict(settings.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C is for us; we then cancel it in order
            preexec_fn=end_with_parent(signal.SIGTERM),
        )
        batch: LaunchedBatch | None = None
        try:
            batch = _ask(process, request, key, errors)
            yield batch
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            said, _ = process.communicate()
            if batch is not None and process.returncode != ExitCode.OK:
                batch.error = _answer(said).get("error")
                _close(settings, batch)


def _ask(
    process: "subprocess.Popen[str]",
    request: BatchRequest,
    key: str,
    errors: IO[str],
) -> LaunchedBatch:
    config = {
        "start_date": request.start.isoformat(),
        "end_date": request.end.isoformat(),
        "already_synced": "resync" if request.resync else "skip",
    }
    if request.dataset is not None:
        config["dataset"] = request.dataset
    question = {
        "config": config,
        "batch_key": key,
        "triggered_by": f"{getpass.getuser()}{COMMAND_LINE_SUFFIX}",
        "retry": request.failed is not None,
    }
    assert process.stdin is not None  # noqa: S101  both are pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(json.dumps(question))
    process.stdin.close()
    process.stdin = None  # or communicate() would flush it
    answer = _answer(process.stdout.readline())
    if "error" in answer:
        refused = answer["exit_code"] == ExitCode.REFUSED
        raise (RequestError if refused else StackError)(answer["error"])
    if "run_id" not in answer:
        process.wait()
        errors.seek(0)
        said = [text for text in errors.read().splitlines() if text.strip()]
        raise StackError(f"the batch did not start: {said[-1] if said else 'no reason given'}")
    record = key if request.failed is None else str(request.failed.id)
    return LaunchedBatch(
        key,
        record,
        answer["run_id"],
        answer["dataset"],
        answer["days"],
        answer["warn_below"],
        process,
    )


def _answer(line: str) -> dict[str, Any]:
    """Return what the process answered; nothing if it ended in the middle of it, or before."""
    answer: dict[str, Any] = {}
    with suppress(ValueError):
        answer = json.loads(line)
    return answer


def _close(settings: Settings, batch: LaunchedBatch) -> None:
    """Close what the process left unfinished of its batch. Most often that is nothing."""
    code = batch.process.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if batch.error is not None:
        how += f": {batch.error}"
    with Tracker(settings, run_id=batch.run_id) as tracker:
        tracker.mark_batch_not_run(
            batch.batch_key, batch.dataset, f"the process of run {batch.run_id} {how}"
        )
