"""A dataset's nightly schedule: sync the last finished day and the look-back days before it.

The days are synced in one run over their range, because starting a run is slow. If the dataset has
`retry_every_minutes`, later ticks retry the failed days, because a source that was not ready may be
ready by then; each day is retried under the record of the batch in which it failed.

While Dagster is stopped, it misses ticks. When it is started again, it makes up for the last one
only, so that run also syncs the days of the others, unless `catch_up` says otherwise. Does not
compute the times of the ticks: see `Schedule.ticks` in `config/dataset.py`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

import dagster as dg
import psycopg2

from sync_pipeline.config.dataset import Dataset, Schedule
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import SyncError, TrackingError, one_line
from sync_pipeline.orchestration.dagster.internals import (
    NOT_FINISHED_STATUSES,
    UnresolvedAssetJobDefinition,
)
from sync_pipeline.orchestration.dagster.partitions import days_of_run
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.connection import read_tracking, tracking_transaction
from sync_pipeline.tracking.models import day_ranges
from sync_pipeline.tracking.read import day_checks
from sync_pipeline.tracking.state import corrections
from sync_pipeline.tracking.state.corrections import Correction

_LATE = timedelta(minutes=30)  # later than this, Dagster makes up for a missed tick
_TIMEOUT_SECONDS = 10  # a nightly run does not wait longer for the records
_logger = logging.getLogger(__name__)
_Result = dg.RunRequest | list[dg.RunRequest] | dg.SkipReason


def build_schedule(
    dataset: Dataset, schedule: Schedule, job: UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """Return the schedule that runs `job` every night, in the dataset's time zone."""
    name = tags.schedule_name_of(dataset.name)
    crons = [f"{int(tick[3:])} {int(tick[:2])} * * *" for tick in schedule.ticks()]

    @dg.schedule(
        name=name,
        cron_schedule=crons[0] if len(crons) == 1 else crons,
        execution_timezone=dataset.timezone,
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING
        if schedule.enabled
        else dg.DefaultScheduleStatus.STOPPED,
        description=f"Sync the last finished day and the {schedule.look_back_days} days before it.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> _Result:
        now = context.scheduled_execution_time
        yesterday = now.astimezone(dataset.zone).date() - timedelta(days=1)
        last = dataset.last_day(now)
        first = max(dataset.start_date, yesterday - timedelta(days=schedule.look_back_days))
        first = min(first, last + timedelta(days=1))
        past = _past_requests(dataset, schedule, name, first, last)
        is_nightly = _is_nightly(dataset, schedule, now.astimezone(dataset.zone))
        try:
            running = set() if is_nightly else _days_of_unfinished_runs(context.instance, dataset)
            # After a stop, Dagster makes up for the last tick only, which may be one for a retry.
            if is_nightly or (past.missed_last and last not in running):
                late = datetime.now(timezone.utc) - now
                if schedule.catch_up == "none" and late > _LATE:
                    return dg.SkipReason(f"missed by {late}, and catch_up is none")
                if last < past.catch_up_from:
                    return dg.SkipReason(
                        f"{dataset.name} has no day to sync; its last day is {last}"
                    )
                # The same key for each evaluation, although what was missed may differ.
                return _request(f"{dataset.name} nightly {last}", past.catch_up_from, last)
            first = min(first, past.retry_from)
            retries = list(_retry_failed(dataset, first, last, now, running))
        except TrackingError as error:
            return dg.SkipReason(one_line(error))
        return retries or dg.SkipReason(f"no failed day from {first} to {last}")

    return nightly


def _is_nightly(dataset: Dataset, schedule: Schedule, local: datetime) -> bool:
    """Return whether `local` is the tick of the nightly run, not of a retry."""
    later = schedule.ticks()[1:]
    time = local.strftime("%H:%M")
    if not later or time < later[0]:
        return True
    hour, minute = schedule.at.split(":")
    scheduled = local.replace(hour=int(hour), minute=int(minute), fold=0)
    exists = scheduled.astimezone(timezone.utc).astimezone(dataset.zone) == scheduled
    # If a clock change skips that time, Dagster ticks later, possibly at the time of a retry.
    return not exists and time == later[0]


@dataclass(frozen=True)
class _PastRequests:
    """What follows from the days that the schedule has requested before.

    `catch_up_from` is the first day that a nightly run syncs, `missed_last` says that the last day
    should have been requested before, and `retry_from` is the first day of the latest nightly run.
    """

    catch_up_from: date
    missed_last: bool
    retry_from: date


def _past_requests(
    dataset: Dataset, schedule: Schedule, name: str, first: date, last: date
) -> _PastRequests:
    """Return what follows from past requests for a tick whose nightly run syncs `first` to `last`.

    Records which days are not made up for. If the records are unavailable, logs that and assumes
    that nothing was missed, because the nightly run is more important.
    """
    who = f"schedule {name}"
    try:
        with tracking_transaction(current_settings()) as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [_TIMEOUT_SECONDS * 1000])
            requested = day_checks.latest_requested_days(cursor, dataset.name, who)
            if requested is None:
                return _PastRequests(first, missed_last=False, retry_from=first)
            missed = day_checks.first_unsynced_day(
                cursor, dataset.name, requested[1] + timedelta(days=1), first - timedelta(days=1)
            )
            start = first
            if missed is not None and schedule.catch_up == "all":
                earliest = last - timedelta(days=schedule.catch_up_days - 1)
                start = min(first, max(missed, dataset.start_date, earliest))
            if missed is not None and missed < start:
                what = f"unsynced days from {missed} to {start - timedelta(days=1)} not requested"
                why = (
                    f"the schedule {name} missed them; catch_up is {schedule.catch_up}, "
                    f"catch_up_days {schedule.catch_up_days}"
                )
                corrections.write_once(cursor, Correction(what, why, dataset.name))
            is_latest = requested[1] == last and first <= last
            retry_from = min(requested[0], first) if is_latest else first
            return _PastRequests(start, requested[1] < last, retry_from)
    except (SyncError, psycopg2.Error) as error:
        _logger.warning("schedule %s: cannot find missed days: %s", name, one_line(error))
        return _PastRequests(first, missed_last=False, retry_from=first)


def _days_of_unfinished_runs(instance: dg.DagsterInstance, dataset: Dataset) -> set[date]:
    """Return the days of the dataset's runs that are queued or running."""
    unfinished = dg.RunsFilter(
        job_name=tags.job_name_of(dataset.name), statuses=list(NOT_FINISHED_STATUSES)
    )
    return {day for run in instance.get_runs(unfinished) for day in days_of_run(run) or ()}


def _retry_failed(
    dataset: Dataset, first: date, last: date, now: datetime, running: set[date]
) -> Iterator[dg.RunRequest]:
    """Yield a run request for each range of failed or missing days, except days in `running`."""
    with read_tracking(current_settings()) as cursor:
        latest = day_checks.failed_or_missing_days(cursor, dataset.name, first, last)
    failed = {day: key for day, key in latest.items() if day not in running}
    for key in sorted(set(failed.values()), key=str):
        for start, end in day_ranges([day for day in failed if failed[day] == key]):
            yield _request(f"{dataset.name} {start} {end} {now.isoformat()}", start, end, key)


def _request(run_key: str, first: date, last: date, batch_key: str | None = None) -> dg.RunRequest:
    run_tags = {tags.PRIORITY_TAG: tags.HIGH_PRIORITY}
    if batch_key is not None:
        run_tags[tags.BATCH_KEY_TAG] = batch_key
    if first == last:
        return dg.RunRequest(run_key=run_key, partition_key=last.isoformat(), tags=run_tags)
    run_tags |= {
        tags.RANGE_START_TAG: first.isoformat(),
        tags.RANGE_END_TAG: last.isoformat(),
    }
    return dg.RunRequest(run_key=run_key, tags=run_tags)
