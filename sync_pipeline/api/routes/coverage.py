"""The datasets, and the state of each of their days.

Does not list records: see `records.py`.
"""

from collections import Counter
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sync_pipeline.api.authorization import Reader
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
from sync_pipeline.api.services import Services, get_services
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.tracking.read import coverage as tracked
from sync_pipeline.tracking.read.coverage import DayState

MAX_DAYS = 1100
_DEFAULT_DAYS = 365

router = APIRouter(tags=["datasets"])


@router.get("/datasets", summary="List the datasets", responses=responses())
def datasets(
    caller: Reader, services: Annotated[Services, Depends(get_services)]
) -> Envelope[DatasetsOut]:
    """Return all datasets that Dagster has loaded, with their first day and last finished day.

    Returns 503 if Dagster has not responded yet.
    """
    found = [_out(dataset) for dataset in services.catalogue.datasets()]
    return Envelope(data=DatasetsOut(datasets=found))


@router.get("/sync-status/coverage", summary="Get the state of each day", responses=responses(404))
def coverage(
    caller: Reader,
    services: Annotated[Services, Depends(get_services)],
    dataset: Annotated[
        DatasetName | None, Query(description="Optional if there is only one dataset.")
    ] = None,
    first: Annotated[
        Day | None, Query(alias="from", description="The first day, inclusive.")
    ] = None,
    last: Annotated[Day | None, Query(alias="to", description="The last day, inclusive.")] = None,
) -> Envelope[CoverageOut]:
    """Return the state of every day in a range: at most 1,100 days, by default the last 365.

    Returns 404 if the dataset is unknown, or 422 if the range is invalid.
    """
    name = dataset or services.catalogue.find(None).name
    bounds = services.catalogue.bounds(name) or services.pool.run(
        lambda cursor: tracked.known_days(cursor, name)
    )
    if bounds is None:
        raise ProblemError(
            404,
            "no_such_dataset",
            f"dataset {name!r} not found; see GET /api/v1/datasets",
            field="dataset",
            dataset=name,
        )
    start, end = _range(first, last, bounds)
    days = services.pool.run(lambda cursor: tracked.coverage(cursor, name, start, end, bounds))
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
    """Return the requested range; if `first` or `last` is missing, it covers 365 days.

    Raises ProblemError 422 if the range is invalid.
    """
    default_length = timedelta(days=_DEFAULT_DAYS - 1)
    try:
        if last is None:
            last = bounds[1] if first is None else first + default_length
        if first is None:
            first = last - default_length
    except OverflowError:
        raise ProblemError(
            422, "too_far_out", "specify both 'from' and 'to'", field="from"
        ) from None
    if last < first:
        raise ProblemError(
            422,
            "days_reversed",
            f"'to' ({last}) is before 'from' ({first})",
            field="to",
            first=str(first),
            last=str(last),
        )
    if (last - first).days >= MAX_DAYS:
        raise ProblemError(
            422,
            "too_many_days",
            f"the range has more than {MAX_DAYS} days; request fewer at once",
            field="to",
            max=MAX_DAYS,
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
