"""A long batch: a day must not take longer in a batch of 3,650 days than in one of 365 days."""

from datetime import timedelta

from bench.batch import run_batch
from bench.pairs import measure_pairs, ratio, raw
from bench.project import create_project
from bench.readings import DAYS, FIRST, ROWS_A_DAY, dataset, make_readings
from bench.results import Log, Result
from bench.stack import query_one, run_sql
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import Settings

CASE = "growth_3650"
_GOAL = 1.1
_PAIRS = 2
_MANY, _FEW = DAYS, 365


def measure(settings: Settings, log: Log) -> Result:
    """Compare the time per day in a batch of 3,650 small days with that in a batch of 365."""
    make_readings(settings)
    many = [dataset(f"many_{n}") for n in range(_PAIRS)]
    few = [dataset(f"few_{n}") for n in range(_PAIRS)]
    left, left_few = iter(many), iter(few)
    with create_project([*many, *few], settings) as project_settings:
        pairs = measure_pairs(
            _PAIRS,
            lambda: _seconds_per_day(project_settings, next(left), _MANY),
            lambda: _seconds_per_day(project_settings, next(left_few), _FEW),
            log,
        )
    return Result(
        CASE,
        f"a day of {_MANY:,} in one batch, {ROWS_A_DAY} rows each",
        f"a day of {_FEW} in one batch",
        ratio(pairs),
        _GOAL,
        raw(pairs) | _years(settings, many[-1]),
    )


def _seconds_per_day(settings: Settings, dataset: Dataset, days: int) -> float:
    """Sync the first `days` days of an empty dataset; return the seconds per day."""
    run_sql(settings.database_url, "CHECKPOINT")
    last = FIRST + timedelta(days=days - 1)
    return run_batch(settings, BatchRequest(dataset.name, FIRST, last)).run_seconds / days


def _years(settings: Settings, dataset: Dataset) -> dict[str, float]:
    """Return the seconds that the batch's first 365 days took, and those that its last 365 took.

    Both exclude the time to start the run, which would have more effect in a batch of fewer days.
    """
    seconds = {}
    for name, skipped in (("first", 0), ("last", _MANY - _FEW)):
        begin = FIRST + timedelta(days=skipped)
        row = query_one(
            settings.database_url,
            "SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM sync_attempt "
            "WHERE dataset = %s AND sync_date >= %s AND sync_date < %s",
            [dataset.name, begin, begin + timedelta(days=_FEW)],
        )
        seconds[f"{name}_365_days_seconds"] = round(float(row[0]), 3)
    return seconds
