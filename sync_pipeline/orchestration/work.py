"""Code shared by the asset and the batch job: sync days in a step, and end the step.

Does not sync the days itself: see `sync/days.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timezone

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import RecordRejectedError, SyncError, WorkerOutdatedError, one_line
from sync_pipeline.orchestration import checks
from sync_pipeline.orchestration.dagster.batch_key import triggered_by
from sync_pipeline.orchestration.dagster.cancellation import describe_interrupt
from sync_pipeline.orchestration.dagster.materializations import MaterializationLog
from sync_pipeline.orchestration.dagster.storage import speed_up_run
from sync_pipeline.settings import Settings
from sync_pipeline.sync.day import CANCELLED
from sync_pipeline.sync.days import DayResult, Outcome, sync_days
from sync_pipeline.tracking.models import BatchSpec, day_ranges
from sync_pipeline.tracking.worker.heartbeat import Heartbeat
from sync_pipeline.tracking.worker.tracker import Tracker

_MAX_RANGES = 20  # in a message


def asset_key_of(dataset: Dataset) -> dg.AssetKey:
    """Return the key of the dataset's asset, which is the dataset's name."""
    return dg.AssetKey(dataset.name)


@contextmanager
def open_tracker(run: dg.DagsterRun, settings: Settings) -> Iterator[Tracker]:
    """Yield a tracker for `run`; this process sends heartbeats while the block runs.

    Raises dagster.Failure if the tracking tables do not fit this version of the code, or reject the
    batch's record.
    """
    who = triggered_by(run)
    with (
        Heartbeat(settings, run.run_id) as heartbeat,
        Tracker(settings, run_id=run.run_id, triggered_by=who, heartbeat=heartbeat) as tracker,
    ):
        try:
            yield tracker
        except (WorkerOutdatedError, RecordRejectedError) as error:
            raise failure(one_line(error)) from None


def sync_in_step(
    context: dg.OpExecutionContext,
    dataset: Dataset,
    days: Sequence[date],
    *,
    settings: Settings,
    tracker: Tracker,
    batch: BatchSpec | None,
    resync: bool,
) -> list[DayResult]:
    """Sync `days` in a step and report each to Dagster; return the results.

    Raises dagster.Failure if the source or target cannot be used. An interrupt is re-raised after
    the remaining days have been marked as not run.
    """
    speed_up_run(context.instance)
    if batch is not None:
        tracker.retry_batch(batch, days, _requested_at(context))
    results: list[DayResult] = []
    try:
        with MaterializationLog(context, asset_key_of(dataset), settings, tracker) as log:
            for result in sync_days(
                dataset,
                days,
                settings=settings,
                tracker=tracker,
                batch=batch,
                resync=resync,
                logger=context.log,
            ):
                results.append(result)
                log.add(result)
                _log_failure(context, result)
    except SyncError as error:
        checks.report(context, dataset, checks.evaluate(dataset, results, tracker))
        raise failure(one_line(error)) from None
    except BaseException as error:
        if not isinstance(error, Exception):
            reason = describe_interrupt(context.instance, context.run_id)
            tracker.explain_interrupted(CANCELLED, reason)
            if batch is not None:
                tracker.mark_not_run(batch, days, reason)
        raise
    return results


def _requested_at(context: dg.OpExecutionContext) -> datetime:
    """Return the time at which this step's run was created."""
    record = context.instance.get_run_record_by_id(context.run_id)
    return record.create_timestamp if record is not None else datetime.now(timezone.utc)


def raise_if_a_day_failed(dataset: Dataset, results: Sequence[DayResult]) -> None:
    """Raise dagster.Failure with a list of the failed days if any of `results` failed."""
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    if failed:
        ranges = day_ranges([result.day for result in failed])
        named = [str(a) if a == b else f"{a}..{b}" for a, b in ranges[:_MAX_RANGES]]
        more = ["…"] if len(ranges) > _MAX_RANGES else []
        first = (failed[0].error or "").replace(f"dataset {dataset.name}: ", "")
        raise failure(
            f"dataset {dataset.name}: {len(failed)} of {len(results)} days failed: "
            f"{', '.join(named + more)}. First: {failed[0].day}: {first}"
        )


def failure(text: str) -> dg.Failure:
    """Return a step failure with the description `text`; Dagster does not retry the step."""
    return dg.Failure(description=text, allow_retries=False)


def _log_failure(context: dg.OpExecutionContext, result: DayResult) -> None:
    # Each log line is stored as an event; for a synced day, the materialization is sufficient.
    if result.outcome is Outcome.FAILED:
        context.log.error(f"day {result.day}: {result.error}")
