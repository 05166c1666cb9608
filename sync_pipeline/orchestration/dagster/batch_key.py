"""Determine which batch a run or backfill belongs to, and what triggered it, from its tags.

The batch key is the tag set by the API or the command line; otherwise the backfill ID; otherwise,
for a run of a day range or of the batch job, the ID of the root run. A re-execution of a run or
backfill belongs to the same batch as its root and continues the same record. A run of a single
partition outside a backfill does not belong to a batch. A batch over several datasets has one
record per dataset, all with the same key.
"""

from datetime import datetime, timezone

import dagster as dg

from sync_pipeline.dagster_client.tags import (
    BACKFILL_TAG,
    BATCH_JOB_NAME,
    BATCH_KEY_TAG,
    RANGE_START_TAG,
    ROOT_BACKFILL_TAG,
    ROOT_RUN_TAG,
    SCHEDULE_TAG,
    TRIGGERED_BY_TAG,
)
from sync_pipeline.orchestration.dagster.internals import (
    NOT_FINISHED_STATUSES,
    BulkActionsFilter,
    PartitionBackfill,
)


def batch_key_of(run: dg.DagsterRun, instance: dg.DagsterInstance) -> str | None:
    """Return the key of the batch that `run` belongs to, or None if it belongs to none."""
    root = instance.get_run_by_id(run.root_run_id) if run.root_run_id else None
    # Once a backfill has ended, Dagster does not copy its tag to its re-executed runs.
    key = _key_in_tags(run) or (root and _key_in_tags(root))
    if key:
        return key
    if run.job_name == BATCH_JOB_NAME or RANGE_START_TAG in run.tags:
        return run.root_run_id or run.run_id
    return None


def batch_key_of_backfill(backfill: PartitionBackfill) -> str:
    """Return the batch key of `backfill`: its own ID, or its root's if it is a re-execution."""
    return backfill.tags.get(ROOT_BACKFILL_TAG) or backfill.backfill_id


def running_runs(instance: dg.DagsterInstance) -> dict[str, list[dg.DagsterRun]]:
    """Return the unfinished runs that belong to batches, grouped by batch key."""
    found: dict[str, list[dg.DagsterRun]] = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES))):
        key = batch_key_of(run, instance)
        if key is not None:
            found.setdefault(key, []).append(run)
    return found


def latest_of_batch(
    instance: dg.DagsterInstance, batch_key: str
) -> tuple[PartitionBackfill | None, dg.DagsterRun | None]:
    """Return a batch's latest backfill or its latest run, whichever is newer; the other is None."""
    backfill = _latest_backfill(instance, batch_key)
    if backfill is None:
        return None, _latest_run(instance, batch_key)
    retries = instance.get_runs(
        dg.RunsFilter(
            tags={BATCH_KEY_TAG: batch_key},
            created_after=datetime.fromtimestamp(backfill.backfill_timestamp, timezone.utc),
        ),
        limit=1,
    )
    return (None, retries[0]) if retries else (backfill, None)


def _latest_backfill(instance: dg.DagsterInstance, batch_key: str) -> PartitionBackfill | None:
    reexecutions = BulkActionsFilter(tags={ROOT_BACKFILL_TAG: batch_key})
    latest = instance.get_backfills(filters=reexecutions, limit=1)
    return latest[0] if latest else instance.get_backfill(batch_key)


def _latest_run(instance: dg.DagsterInstance, batch_key: str) -> dg.DagsterRun | None:
    for tag in (BATCH_KEY_TAG, ROOT_RUN_TAG):
        found = instance.get_runs(dg.RunsFilter(tags={tag: batch_key}), limit=1)
        if found:
            return found[0]
    return instance.get_run_by_id(batch_key)


def _key_in_tags(run: dg.DagsterRun) -> str | None:
    tags = (BATCH_KEY_TAG, ROOT_BACKFILL_TAG, BACKFILL_TAG)
    return next((run.tags[tag] for tag in tags if tag in run.tags), None)


def triggered_by(run: dg.DagsterRun) -> str:
    """Return who or what triggered `run`, in the form used in the record."""
    if TRIGGERED_BY_TAG in run.tags:
        return run.tags[TRIGGERED_BY_TAG]
    if BACKFILL_TAG in run.tags:
        return f"backfill {run.tags[BACKFILL_TAG]}"
    if SCHEDULE_TAG in run.tags:
        return f"schedule {run.tags[SCHEDULE_TAG]}"
    return f"run {run.run_id}"
