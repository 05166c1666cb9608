"""Read records: the list, and one record with its days and attempts.

Does not query the database: see `tracking/read/`.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from sync_pipeline.api.authorization import Reader
from sync_pipeline.api.models import (
    AttemptOut,
    Day,
    DayOut,
    DetailOut,
    Envelope,
    Kind,
    ListOut,
    RecordOut,
    Status,
)
from sync_pipeline.api.problems import ProblemError, no_record, responses
from sync_pipeline.api.services import Services, get_services
from sync_pipeline.tracking.read import history, listing
from sync_pipeline.tracking.read.history import Record
from sync_pipeline.tracking.read.listing import Filter, Sort

MAX_PAGED_RECORDS = 10_000
_NO_NUL = r"^[^\x00]*$"

router = APIRouter(tags=["records"])
RecordId = Annotated[int, Path(alias="id", ge=1, le=2**63 - 1, examples=[18])]


def _filter(
    dataset: Annotated[str | None, Query(max_length=200, pattern=_NO_NUL)] = None,
    kind: Annotated[Kind | None, Query()] = None,
    status: Annotated[list[Status] | None, Query(max_length=3)] = None,
    first: Annotated[
        Day | None, Query(alias="from", description="Records with a day on or after this one.")
    ] = None,
    last: Annotated[
        Day | None, Query(alias="to", description="Records with a day on or before this one.")
    ] = None,
    text: Annotated[
        str | None,
        Query(
            alias="q",
            max_length=100,
            pattern=_NO_NUL,
            description="Records whose remarks or error contain this text, ignoring case.",
        ),
    ] = None,
) -> Filter:
    return Filter(dataset, kind, status or (), first, last, text or None)


@router.get("/sync-status/list", summary="List records", responses=responses())
def list_records(
    caller: Reader,
    services: Annotated[Services, Depends(get_services)],
    filter_: Annotated[Filter, Depends(_filter)],
    page: Annotated[int, Query(ge=1, le=MAX_PAGED_RECORDS)] = 1,
    page_size: Annotated[int, Query(ge=1, le=200)] = 50,
    sort: Annotated[
        Sort, Query(description="The sort key; with a leading `-`, descending.")
    ] = "-start_time",
    after: Annotated[
        str | None,
        Query(max_length=300, description="The `next` of the previous page, instead of `page`."),
    ] = None,
) -> Envelope[ListOut]:
    """Return a page of the records that match all filters.

    `page` can reach only the first 10,000 records; `after` has no limit. Returns 422 for an unknown
    parameter.
    """
    if after is None and page * page_size > MAX_PAGED_RECORDS:
        raise ProblemError(
            422,
            "page_limit",
            f"page × page_size is more than {MAX_PAGED_RECORDS}; continue with 'after'",
            field="page",
            max=MAX_PAGED_RECORDS,
        )
    offset = 0 if after is not None else (page - 1) * page_size
    found = services.pool.run(
        lambda cursor: listing.page(
            cursor, filter_, sort=sort, size=page_size, offset=offset, after=after
        )
    )
    return Envelope(
        data=ListOut(
            records=[RecordOut.of(record, services.links) for record in found.records],
            total=found.total,
            total_is_estimate=found.total_is_estimate,
            page=page if after is None else None,
            page_size=page_size,
            next=found.next,
        )
    )


@router.get(
    "/sync-status/{id}", summary="Get a record with its days and attempts", responses=responses(404)
)
def get_record(
    caller: Reader, record_id: RecordId, services: Annotated[Services, Depends(get_services)]
) -> Envelope[DetailOut]:
    """Return a record with its attempts and, for a batch, its days.

    Returns 404 if the record does not exist.
    """
    record: Record | None = services.pool.run(lambda cursor: history.record(cursor, record_id))
    if record is None:
        raise no_record(record_id)
    found = record
    is_batch = found.kind == "batch"
    days = services.pool.run(lambda cursor: history.days_of(cursor, found)) if is_batch else []
    attempts = services.pool.run(lambda cursor: history.attempts_of(cursor, found))
    return Envelope(
        data=DetailOut(
            record=RecordOut.of(found, services.links),
            days=[DayOut.model_validate(day) for day in days],
            attempts=[AttemptOut.model_validate(attempt) for attempt in attempts],
        )
    )
