"""Which batch a run belongs to, and who asked for it: read off the run's tags, never guessed.

The key of a batch is our own tag if the API or the command line set one, else the backfill's id,
else the root run's id of a run over a range or of the batch job. Re-executions keep the root, and
so continue the same record. A run of one partition that is in no backfill is no batch. A batch
over several datasets has one record in each of them, under the same key.
"""

import dagster as dg

BATCH_KEY_TAG = "sync_pipeline/batch_key"
TRIGGERED_BY_TAG = "sync_pipeline/triggered_by"
BATCH_JOB_NAME = "batch_backfill"
BACKFILL_TAG = "dagster/backfill"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
_PARTITION_TAG = "dagster/partition"
_SCHEDULE_TAG = "dagster/schedule_name"


def batch_key_of(run: dg.DagsterRun) -> str | None:
    """Return the key of the batch that `run` works on, or None if it is no batch."""
    given = run.tags.get(BATCH_KEY_TAG) or run.tags.get(BACKFILL_TAG)
    if given:
        return given
    if run.job_name == BATCH_JOB_NAME or RANGE_START_TAG in run.tags:
        return run.root_run_id or run.run_id
    return None


def job_name_of(dataset: str) -> str:
    """Return the name of the job that holds the dataset's asset alone."""
    return f"{dataset}_daily_sync"


def triggered_by(run: dg.DagsterRun) -> str:
    """Return who or what asked for `run`, for the record."""
    if TRIGGERED_BY_TAG in run.tags:
        return run.tags[TRIGGERED_BY_TAG]
    if BACKFILL_TAG in run.tags:
        return f"backfill {run.tags[BACKFILL_TAG]}"
    if _SCHEDULE_TAG in run.tags:
        return f"schedule {run.tags[_SCHEDULE_TAG]}"
    return f"run {run.run_id}"
