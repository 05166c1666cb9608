"""Running a batch as the command line does: the batch job, with tracking and Dagster's events."""

import time
from dataclasses import dataclass

from bench.stack import query_one
from sync_pipeline.cli.launch import BatchRequest, launched_batch
from sync_pipeline.errors import StackError
from sync_pipeline.settings import DAGSTER_SCHEMA, Settings

_RUN = f"SELECT status, end_time - start_time FROM {DAGSTER_SCHEMA}.runs WHERE run_id = %s"
_WHY = "SELECT error_message FROM daily_sync_status WHERE batch_key = %s"


@dataclass(frozen=True)
class BatchTime:
    """Seconds of one batch: of Dagster's run from its start to its success, and of the whole
    command, which begins with importing Dagster."""

    run_seconds: float
    command_seconds: float


def run_batch(settings: Settings, request: BatchRequest) -> BatchTime:
    """Run a batch to its end and return how long it took. Raises StackError if it fails."""
    started = time.monotonic()
    with launched_batch(settings, request) as batch:
        batch.process.wait()
    command_seconds = time.monotonic() - started
    status, run_seconds = query_one(settings.database_url, _RUN, [batch.run_id])
    if status != "SUCCESS":
        (why,) = query_one(settings.database_url, _WHY, [batch.batch_key])
        raise StackError(f"the batch of {request.dataset} ended {status}: {why}")
    return BatchTime(float(run_seconds), command_seconds)
