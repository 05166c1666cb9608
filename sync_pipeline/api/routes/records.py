"""Reading records: lists, and one with its days and attempts."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

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
from sync_pipeline.api.security.access import Reader
from sync_pipeline.api.services import Services, services
from sync_pipeline.tracking.read import history, listing
from sync_pipeline.tracking.read.history import Record
from sync_pipeline.tracking.read.listing import Filter, Sort

MAX_DEEP = 10_000
_NO_NUL = r"^[^\x00]*$"

router = APIRouter(tags=["records"])
RecordId = Annotated[int, Path(alias="id", ge=1, le=2**63 - 1, examples=[18])]


def _filter(
    dataset: Annotated[str | None, Query(max_length=200, pattern=_NO_NUL)] = None,
    kind: Annotated[Kind | None, Query()] = None,
    status: Annotated[list[Status] | None, Query(max_length=3)] = None,
    first: Annotated[Day | None, Query(alias="from", description="days from this one on")] = None,
    last: Annotated[Day | None, Query(alias="to", description="days up to this one")] = None,
    text: Annotated[
        str | None,
        Query(alias="q", max_length=100, pattern=_NO_NUL, description="in remarks or error"),
    ] = None,
) -> Filter:
    return Filter(dataset, kind, status or (), first, last, text or None)


@router.get("/sync-status/list", summary="Records, page by page", responses=responses())
def list_records(
    caller: Reader,
    given: Annotated[Services, Depends(services)],
    which: Annotated[Filter, Depends(_filter)],
    page: Annotated[int, Query(ge=1, le=MAX_DEEP)] = 1,
    page_size: Annotated[int, Query(ge=1, le=200)] = 50,
    sort: Annotated[Sort, Query(description="what comes first; - for the highest")] = "-start_time",
    after: Annotated[
        str | None, Query(max_length=300, description="'next' of the page before, in place of page")
    ] = None,
) -> Envelope[ListOut]:
    """The list of the specification, with filters. Deep lists go on by `after`."""
    if after is None and page * page_size > MAX_DEEP:
        raise ProblemError(
            422,
            "page_limit",
            f"page × page_size is more than {MAX_DEEP}; go on with 'after'",
            field="page",
            most=MAX_DEEP,
        )
    offset = 0 if after is not None else (page - 1) * page_size
    found = given.pool.run(
        lambda cursor: listing.page(
            cursor, which, sort=sort, size=page_size, offset=offset, after=after
        )
    )
    return Envelope(
        data=ListOut(
            records=[RecordOut.of(record, given.links) for record in found.records],
            total=found.total,
            total_is_estimate=found.total_is_estimate,
            page=page if after is None else None,
            page_size=page_size,
            next=found.next,
        )
    )


@router.get(
    "/sync-status/{id}", summary="One record, its days, its attempts", responses=responses(404)
)
def one_record(
    caller: Reader, record_id: RecordId, given: Annotated[Services, Depends(services)]
) -> Envelope[DetailOut]:
    """A batch with each of its days, or a day, with every attempt behind it."""
    record: Record | None = given.pool.run(lambda cursor: history.record(cursor, record_id))
    if record is None:
        raise no_record(record_id)
    found = record
    is_batch = found.kind == "batch"
    days = given.pool.run(lambda cursor: history.days_of(cursor, found)) if is_batch else []
    attempts = given.pool.run(lambda cursor: history.attempts_of(cursor, found))
    return Envelope(
        data=DetailOut(
            record=RecordOut.of(found, given.links),
            days=[DayOut.model_validate(day) for day in days],
            attempts=[AttemptOut.model_validate(attempt) for attempt in attempts],
        )
    )
