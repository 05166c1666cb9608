"""Dagster asset checks for the rows that a run synced.

Each check is evaluated once per run, not once per day, because storing an event can take longer
than syncing a small day. Does not find small days: see `sync/volume.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.orchestration.dagster.internals import DagsterEvent
from sync_pipeline.sync.days import DayResult
from sync_pipeline.tracking.models import SyncedDay
from sync_pipeline.tracking.worker.tracker import Tracker

ROWS_ACCOUNTED_FOR = "rows_accounted_for"
DAY_SIZE = "day_size"
_MAX_NAMED = 20


def check_specs(dataset: Dataset) -> list[dg.AssetCheckSpec]:
    """Return the specs of the checks for a dataset's asset."""
    key = _key(dataset)
    specs = [
        dg.AssetCheckSpec(
            ROWS_ACCOUNTED_FOR,
            asset=key,
            description="All source rows are in the target; quarantined rows cause a warning.",
        )
    ]
    if dataset.volume.warn_below:
        specs.append(
            dg.AssetCheckSpec(
                DAY_SIZE,
                asset=key,
                description="No day has unusually few rows compared with its previous sync and "
                "with the days before it.",
            )
        )
    return specs


def evaluate(
    dataset: Dataset, results: Sequence[DayResult], tracker: Tracker
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of each check for the days of a run."""
    failed = [result.day for result in results if result.error is not None]
    loaded = tracker.loaded_days(dataset.name, failed) if failed else {}
    yield _rows_accounted_for(dataset, results, loaded)
    if dataset.volume.warn_below:
        yield _day_size(dataset, results)


def report(
    context: dg.OpExecutionContext, dataset: Dataset, results: Iterator[dg.AssetCheckResult]
) -> None:
    """Report check results to Dagster from a step that does not belong to the asset."""
    for result in results:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=_key(dataset),
            check_name=result.check_name or "",
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
        )
        DagsterEvent.asset_check_evaluation(context.get_step_execution_context(), evaluation)


def _rows_accounted_for(
    dataset: Dataset, results: Sequence[DayResult], still_loaded: Mapping[date, SyncedDay] | None
) -> dg.AssetCheckResult:
    """Return the result of the check. `still_loaded` are the failed days that have been loaded
    before, or None if the records are unavailable."""
    loaded = [result for result in results if result.counts is not None]
    rejected = {
        r.day: r.counts.rows_rejected for r in loaded if r.counts and r.counts.rows_rejected
    }
    failed = [result.day for result in results if result.error is not None]
    problems = [f"{day}: {count} rows quarantined" for day, count in rejected.items()]
    problems += [f"{day}: failed{_what_remains(day, still_loaded)}" for day in failed]
    return dg.AssetCheckResult(
        asset_key=_key(dataset),
        check_name=ROWS_ACCOUNTED_FOR,
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        description=_join(problems) or None,
        metadata={
            "days": len(loaded),
            "rows_read": sum(result.counts.rows_read for result in loaded if result.counts),
            "rows_loaded": sum(result.counts.rows_loaded for result in loaded if result.counts),
            "rows_rejected": sum(rejected.values()),
        },
    )


def _what_remains(day: date, still_loaded: Mapping[date, SyncedDay] | None) -> str:
    if still_loaded is None:
        return ""
    if day not in still_loaded:
        return "; it has no loaded rows"
    return f"; the {still_loaded[day].rows_loaded} rows loaded before remain"


def _day_size(dataset: Dataset, results: Sequence[DayResult]) -> dg.AssetCheckResult:
    problems = [f"{result.day}: {result.warning}" for result in results if result.warning]
    return dg.AssetCheckResult(
        asset_key=_key(dataset),
        check_name=DAY_SIZE,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=_join(problems) or None,
        metadata={"small_days": len(problems)},
    )


def _key(dataset: Dataset) -> dg.AssetKey:
    return dg.AssetKey(dataset.name)


def _join(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - _MAX_NAMED} more" if len(texts) > _MAX_NAMED else ""
    return "; ".join(texts[:_MAX_NAMED]) + more
