"""Run a batch as the command line does: through the batch job, with tracking and Dagster's events.

For one day without Dagster, see `one_day.py`.
"""

import time
from dataclasses import dataclass

from bench.stack import query_one
from sync_pipeline.cli.launch import BatchRequest, launch_batch
from sync_pipeline.errors import StackError
from sync_pipeline.settings import DAGSTER_SCHEMA, Settings

_RUN = f"SELECT status, end_time - start_time FROM {DAGSTER_SCHEMA}.runs WHERE run_id = %s"
_ERROR = "SELECT error_message FROM daily_sync_status WHERE batch_key = %s"


@dataclass(frozen=True)
class BatchTime:
    """Durations of one batch, in seconds.

    `run_seconds` is the duration of the Dagster run, from its start to its success.
    `command_seconds` is that of the whole command, including the import of Dagster.
    """

    run_seconds: float
    command_seconds: float


def run_batch(settings: Settings, request: BatchRequest) -> BatchTime:
    """Run a batch until it ends; return its durations. Raises StackError if it fails."""
    started = time.monotonic()
    with launch_batch(settings, request) as batch:
        batch.process.wait()
    command_seconds = time.monotonic() - started
    status, run_seconds = query_one(settings.database_url, _RUN, [batch.run_id])
    if status != "SUCCESS":
        (reason,) = query_one(settings.database_url, _ERROR, [batch.batch_key])
        raise StackError(f"the batch of {request.dataset} ended with {status}: {reason}")
    return BatchTime(float(run_seconds), command_seconds)
