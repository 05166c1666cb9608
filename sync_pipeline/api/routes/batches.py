"""Launching, previewing, cancelling and retrying batches."""

from datetime import date, datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from sync_pipeline.api import launching
from sync_pipeline.api.launching import Launched
from sync_pipeline.api.models import (
    BatchIn,
    DayCountsOut,
    Envelope,
    LaunchedOut,
    PreviewOut,
    RangesOut,
    RecordDataOut,
    RecordOut,
)
from sync_pipeline.api.openapi import LINKS
from sync_pipeline.api.problems import ProblemError, responses
from sync_pipeline.api.routes.records import RecordId
from sync_pipeline.api.security.access import Launcher, Operator, Reader
from sync_pipeline.api.services import Services, services
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import RequestError, one_line
from sync_pipeline.tracking.models import day_ranges
from sync_pipeline.tracking.read import coverage

MAX_DAYS = 3660

router = APIRouter(tags=["batches"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,100}$",
        description="the same key launches once, however often it is sent",
    ),
]


@router.post(
    "/sync-status/sync/batch",
    status_code=202,
    summary="Launch a batch",
    responses={
        **responses(409, 413, 415, 429),
        200: {"description": "Launched before", "model": Envelope[LaunchedOut], "links": LINKS},
        202: {"links": LINKS},
    },
)
def launch(
    caller: Launcher,
    given: Annotated[Services, Depends(services)],
    request: BatchIn,
    response: Response,
    key: Key = None,
) -> Envelope[LaunchedOut]:
    """Its record is `syncing` at once, before Dagster has started anything."""
    dataset = _dataset(given, request)
    try:
        days = _days(dataset, request)
    except RequestError as error:
        raise ProblemError.of(error, 422, field=_field(dataset, request)) from None
    resync = request.already_synced == "resync"
    done = launching.launch(given, caller, dataset.name, days, resync=resync, key=key or "")
    response.status_code = 200 if done.again else 202
    return Envelope(data=_launched(given, done))


@router.post(
    "/sync-status/sync/batch/preview",
    summary="What launching would mean",
    responses=responses(413, 415),
)
def preview(
    caller: Reader, given: Annotated[Services, Depends(services)], request: BatchIn
) -> Envelope[PreviewOut]:
    """Which days would be synced, and which skipped; nothing is written."""
    dataset = _dataset(given, request)
    try:
        days = _days(dataset, request)
    except RequestError as error:
        total = max(0, (request.end_date - request.start_date).days + 1)
        return Envelope(
            data=PreviewOut(
                dataset=dataset.name,
                days=DayCountsOut(total=total, to_sync=0, skipped=0, refused=total),
                ranges=RangesOut(to_sync=[], skipped=[]),
                refused_because=one_line(error),
                field=_field(dataset, request),
                code=error.code,
                params=error.params,
            )
        )
    skipped: set[date] = set()
    if request.already_synced == "skip":
        skipped = given.pool.run(
            lambda cursor: coverage.synced_days(cursor, dataset.name, days[0], days[-1])
        )
    to_sync = [day for day in days if day not in skipped]
    return Envelope(
        data=PreviewOut(
            dataset=dataset.name,
            days=DayCountsOut(
                total=len(days), to_sync=len(to_sync), skipped=len(skipped), refused=0
            ),
            ranges=RangesOut(to_sync=day_ranges(to_sync), skipped=day_ranges(list(skipped))),
        )
    )


@router.post(
    "/sync-status/{id}/cancel",
    status_code=202,
    summary="Cancel a batch at work",
    responses=responses(404, 409, 413, 415),
)
def cancel(
    caller: Operator, record_id: RecordId, given: Annotated[Services, Depends(services)]
) -> Envelope[RecordDataOut]:
    """Days done stay, the day in work rolls back a moment later, the others are not run."""
    record = launching.cancel(given, caller, record_id)
    return Envelope(data=RecordDataOut(record=RecordOut.of(record, given.links)))


@router.post(
    "/sync-status/{id}/retry",
    status_code=202,
    summary="Take a failed batch up again",
    responses=responses(404, 409, 413, 415, 429),
)
def retry(
    caller: Launcher, record_id: RecordId, given: Annotated[Services, Depends(services)]
) -> Envelope[LaunchedOut]:
    """Only its unfinished days, in the same record, which is `syncing` at once."""
    return Envelope(data=_launched(given, launching.retry_batch(given, caller, record_id)))


def _launched(given: Services, done: Launched) -> LaunchedOut:
    return LaunchedOut(
        record=RecordOut.of(done.record, given.links),
        record_id=done.record.id,
        batch_key=done.record.batch_key or "",
        run_id=done.run_id,
        dagster_url=given.links.run(done.run_id),
    )


def _dataset(given: Services, request: BatchIn) -> Dataset:
    try:
        return given.catalogue.find(request.dataset)
    except RequestError as error:
        raise ProblemError.of(error, 422, field="dataset") from None


def _days(dataset: Dataset, request: BatchIn) -> list[date]:
    days = dataset.days(request.start_date, request.end_date, datetime.now(timezone.utc))
    if len(days) > MAX_DAYS:
        raise RequestError(
            f"dataset {dataset.name}: {len(days)} days are more than the {MAX_DAYS} of one batch; "
            "launch it in parts",
            "too_many_days",
            days=len(days),
            most=MAX_DAYS,
        )
    return days


def _field(dataset: Dataset, request: BatchIn) -> str:
    """Return which field of a request that was refused is to be changed."""
    early = request.start_date < dataset.start_date or request.end_date < request.start_date
    return "start_date" if early else "end_date"
