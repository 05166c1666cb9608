"""Recognizes runs that Dagster is still creating.

When Dagster creates a run of an asset, it stores planned events for each partition before it queues
the run. For thousands of partitions, that can take minutes, during which the run is NOT_STARTED and
has no process. Does not decide whether the run is lost: see `recovery/lost_workers.py`.
"""

import dagster as dg

from sync_pipeline.orchestration.dagster.partitions import days_of_run

_SECONDS_PER_DAY = 0.01  # Dagster stores the planned checks of all days in one statement each


def last_event(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """Return the storage ID of the newest event of a run that is being created.

    As long as it increases, the run's creator is alive. Returns None if the run has no events, or
    has been created.
    """
    if run.status is not dg.DagsterRunStatus.NOT_STARTED:
        return None
    records = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return records[0].storage_id if records else None


def seconds_between_events(run: dg.DagsterRun) -> float:
    """Return how long Dagster may take to store the next event of a run that it is creating."""
    if run.status is not dg.DagsterRunStatus.NOT_STARTED:
        return 0.0
    return _SECONDS_PER_DAY * len(days_of_run(run) or ())
