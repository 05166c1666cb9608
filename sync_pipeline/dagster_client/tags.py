"""Names of tags, jobs and metadata keys, for all code that launches or reads Dagster runs.

Does not import dagster, because the API and the command line use these names. Does not determine
which batch a run belongs to: see `orchestration/dagster/batch_key.py`.
"""

LOCATION = "sync_pipeline"
"""The name of the code location, as in workspace.yaml."""
REPOSITORY = "__repository__"

BATCH_JOB_NAME = "batch_backfill"

BATCH_KEY_TAG = "sync_pipeline/batch_key"
TRIGGERED_BY_TAG = "sync_pipeline/triggered_by"
RUN_PROCESS_TAG = ".dagster/sync_pipeline_process"
"""The tag that identifies a run's process, as JSON, if `ForkServerRunLauncher` launched the run.

The Dagster UI hides tags with the prefix `.dagster/`.
"""
CANCELLATION_TAG = "sync_pipeline/cancellation"
"""The tag that says who or what cancelled a run through the command that launched it."""
DATASET_METADATA = "sync_pipeline/dataset"
"""The key of the asset metadata that contains the dataset as JSON."""

BACKFILL_TAG = "dagster/backfill"
ROOT_BACKFILL_TAG = "dagster/root_backfill_id"
ROOT_RUN_TAG = "dagster/root_run_id"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
SCHEDULE_TAG = "dagster/schedule_name"
PRIORITY_TAG = "dagster/priority"
HIGH_PRIORITY = "1"
"""The priority of runs that are dequeued before those of backfills, whose priority is 0."""

COMMAND_LINE_SUFFIX = ", command line"
"""The text after the user name in `triggered_by` if the command line launched the batch."""


def job_name_of(dataset: str) -> str:
    """Return the name of the job that contains only the dataset's asset."""
    return f"{dataset}_daily_sync"


def schedule_name_of(dataset: str) -> str:
    """Return the name of the dataset's nightly schedule."""
    return f"{dataset}_nightly"
