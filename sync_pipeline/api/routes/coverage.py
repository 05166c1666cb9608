"""The datasets, and which of their days are in."""

from collections import Counter
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sync_pipeline.api.catalogue import bounds_of
from sync_pipeline.api.models import (
    CoverageOut,
    CoveredDayOut,
    DatasetName,
    DatasetOut,
    DatasetsOut,
    Day,
    Envelope,
)
from sync_pipeline.api.problems import ProblemError, responses
from sync_pipeline.api.security.access import Reader
from sync_pipeline.api.services import Services, services
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.tracking.read import coverage as tracked
from sync_pipeline.tracking.read.coverage import DayState

MAX_DAYS = 1100
_DEFAULT_DAYS = 365

router = APIRouter(tags=["datasets"])


@router.get("/datasets", summary="The datasets", responses=responses())
def datasets(
    caller: Reader, given: Annotated[Services, Depends(services)]
) -> Envelope[DatasetsOut]:
    """Every dataset that Dagster has loaded, with its first and its last finished day."""
    found = [_out(dataset) for dataset in given.catalogue.datasets()]
    return Envelope(data=DatasetsOut(datasets=found))


@router.get("/sync-status/coverage", summary="Which days are in", responses=responses(404))
def coverage(
    caller: Reader,
    given: Annotated[Services, Depends(services)],
    dataset: Annotated[DatasetName | None, Query(description="not needed if there is one")] = None,
    first: Annotated[Day | None, Query(alias="from")] = None,
    last: Annotated[Day | None, Query(alias="to")] = None,
) -> Envelope[CoverageOut]:
    """Every day of a range, at most 1,100, by default the last 365 of the dataset."""
    name = dataset or given.catalogue.find(None).name
    bounds = given.catalogue.bounds(name) or given.pool.run(
        lambda cursor: tracked.known_days(cursor, name)
    )
    if bounds is None:
        raise ProblemError(
            404,
            "no_such_dataset",
            f"there is no dataset {name!r}; see /api/v1/datasets",
            field="dataset",
            dataset=name,
        )
    start, end = _range(first, last, bounds)
    days = given.pool.run(lambda cursor: tracked.coverage(cursor, name, start, end, bounds))
    counted = Counter(day.state for day in days)
    return Envelope(
        data=CoverageOut(
            dataset=name,
            first=start,
            last=end,
            first_day=bounds[0],
            last_day=bounds[1],
            counts={state: counted[state] for state in DayState},
            days=[CoveredDayOut.model_validate(day) for day in days],
        )
    )


def _range(first: date | None, last: date | None, bounds: tuple[date, date]) -> tuple[date, date]:
    """Return the range asked for; what is left open makes 365 days. Raises ProblemError 422."""
    a_year = timedelta(days=_DEFAULT_DAYS - 1)
    try:
        if last is None:
            last = bounds[1] if first is None else first + a_year
        if first is None:
            first = last - a_year
    except OverflowError:
        raise ProblemError(
            422, "too_far_out", "give both 'from' and 'to' this far out", field="from"
        ) from None
    if last < first:
        raise ProblemError(
            422,
            "days_reversed",
            f"'to' {last} is before 'from' {first}; put the earlier first",
            field="to",
            first=str(first),
            last=str(last),
        )
    if (last - first).days >= MAX_DAYS:
        raise ProblemError(
            422,
            "too_many_days",
            f"more than {MAX_DAYS} days; ask for fewer at once",
            field="to",
            most=MAX_DAYS,
        )
    return first, last


def _out(dataset: Dataset) -> DatasetOut:
    first, last = bounds_of(dataset)
    return DatasetOut(
        name=dataset.name,
        description=dataset.description,
        first_day=first,
        last_day=last,
        timezone=dataset.timezone,
        source=dataset.source.origin,
        target=dataset.target.table,
        schedule=_schedule(dataset),
    )


def _schedule(dataset: Dataset) -> str | None:
    schedule = dataset.schedule
    if schedule is None or not schedule.enabled:
        return None
    return f"{schedule.at} {dataset.timezone}, {schedule.look_back_days} days back"
