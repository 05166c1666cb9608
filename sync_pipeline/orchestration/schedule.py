"""The nightly schedule: the last finished day, and the days before it that may have late rows.

With a look-back the days go as one run over a range, so that Dagster's start is paid once.
"""

from datetime import timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from sync_pipeline.dataset import Dataset, Schedule
from sync_pipeline.orchestration import identity


def build_schedule(
    dataset: Dataset, schedule: Schedule, job: UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """Return the schedule that runs `job` every night at the set time in the dataset's zone."""
    hour, minute = schedule.at.split(":")

    @dg.schedule(
        name=f"{dataset.name}_nightly",
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone=dataset.timezone,
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING
        if schedule.enabled
        else dg.DefaultScheduleStatus.STOPPED,
        description=f"Sync the last finished day and the {schedule.look_back_days} before it.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time
        yesterday = now.astimezone(dataset.zone).date() - timedelta(days=1)
        last = dataset.last_day(now)
        first = max(dataset.start_date, yesterday - timedelta(days=schedule.look_back_days))
        if last < first:
            return dg.SkipReason(f"no day of {dataset.name} to sync: its last one is {last}")
        run_key = f"{dataset.name} {first} {last}"
        if first == last:
            return dg.RunRequest(run_key=run_key, partition_key=last.isoformat())
        return dg.RunRequest(
            run_key=run_key,
            tags={
                identity.RANGE_START_TAG: first.isoformat(),
                identity.RANGE_END_TAG: last.isoformat(),
            },
        )

    return nightly
