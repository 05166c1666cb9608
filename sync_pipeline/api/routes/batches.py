"""Launch, preview, cancel and retry batches.

Does not call Dagster or write records: see `api/launching.py`.
"""

from datetime import date, datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from sync_pipeline.api import launching
from sync_pipeline.api.authorization import Launcher, Operator, Reader
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
from sync_pipeline.api.services import Services, get_services
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import RequestError, one_line
from sync_pipeline.tracking.models import day_ranges
from sync_pipeline.tracking.read import coverage

router = APIRouter(tags=["batches"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,100}$",
        description="Repeating a request with the same key launches the batch only once.",
    ),
]


@router.post(
    "/sync-status/sync/batch",
    status_code=202,
    summary="Launch a batch",
    responses={
        **responses(409, 413, 415, 429),
        200: {"description": "Already launched", "model": Envelope[LaunchedOut], "links": LINKS},
        202: {"links": LINKS},
    },
)
def launch(
    caller: Launcher,
    services: Annotated[Services, Depends(get_services)],
    request: BatchIn,
    response: Response,
    key: Key = None,
) -> Envelope[LaunchedOut]:
    """Open a record for the batch and launch a Dagster run.

    Returns 202 with the record, which is `syncing` immediately, or 200 if an earlier request with
    the same `Idempotency-Key` launched the batch. Returns 409 if that request had different values,
    422 if the dataset or the days are invalid, or 503 if Dagster cannot be reached, in which case
    the record is closed as not run.
    """
    dataset = _dataset(services, request)
    try:
        days = dataset.days(request.start_date, request.end_date, datetime.now(timezone.utc))
    except RequestError as error:
        raise ProblemError.of(error, 422, field=_field(dataset, request)) from None
    resync = request.already_synced == "resync"
    launched = launching.launch(services, caller, dataset.name, days, resync=resync, key=key or "")
    response.status_code = 200 if launched.already_launched else 202
    return Envelope(data=_to_model(services, launched))


@router.post(
    "/sync-status/sync/batch/preview",
    summary="Preview a batch",
    responses=responses(413, 415),
)
def preview(
    caller: Reader, services: Annotated[Services, Depends(get_services)], request: BatchIn
) -> Envelope[PreviewOut]:
    """Return which days would be synced and which would be skipped, without writing anything.

    If the launch would be rejected, returns 200 with `refused_because`.
    """
    dataset = _dataset(services, request)
    try:
        days = dataset.days(request.start_date, request.end_date, datetime.now(timezone.utc))
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
        skipped = services.pool.run(
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
    summary="Cancel a running batch",
    responses=responses(404, 409, 413, 415),
)
def cancel(
    caller: Operator, record_id: RecordId, services: Annotated[Services, Depends(get_services)]
) -> Envelope[RecordDataOut]:
    """Cancel a batch. Completed days are kept, the day in progress is rolled back, and pending days
    are not run.

    Returns 202 with the record, which is closed once its runs have ended, or 409 if the batch is
    not running or was started from the command line.
    """
    record = launching.cancel(services, caller, record_id)
    return Envelope(data=RecordDataOut(record=RecordOut.of(record, services.links)))


@router.post(
    "/sync-status/{id}/retry",
    status_code=202,
    summary="Retry a failed batch",
    responses=responses(404, 409, 413, 415, 429),
)
def retry(
    caller: Launcher, record_id: RecordId, services: Annotated[Services, Depends(get_services)]
) -> Envelope[LaunchedOut]:
    """Launch a batch's unfinished days again, under the same record.

    Returns 202 with the record, which is `syncing` immediately. Returns 409 if the batch is running
    or has no unfinished days, or 503 if Dagster cannot be reached, in which case the record is
    unchanged.
    """
    return Envelope(data=_to_model(services, launching.retry_batch(services, caller, record_id)))


def _to_model(services: Services, launched: Launched) -> LaunchedOut:
    return LaunchedOut(
        record=RecordOut.of(launched.record, services.links),
        record_id=launched.record.id,
        batch_key=launched.record.batch_key or "",
        run_id=launched.run_id,
        dagster_url=services.links.run(launched.run_id),
    )


def _dataset(services: Services, request: BatchIn) -> Dataset:
    try:
        return services.catalogue.find(request.dataset)
    except RequestError as error:
        raise ProblemError.of(error, 422, field="dataset") from None


def _field(dataset: Dataset, request: BatchIn) -> str:
    """Return which field makes the day range of `request` invalid."""
    early = request.start_date < dataset.start_date or request.end_date < request.start_date
    return "start_date" if early else "end_date"
