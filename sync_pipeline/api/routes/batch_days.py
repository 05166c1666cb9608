"""A stretch of a batch's days: for whoever follows a long batch and has the rest already."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sync_pipeline.api.models import AttemptOut, Day, DayOut, DetailOut, Envelope, RecordOut
from sync_pipeline.api.problems import no_record, responses
from sync_pipeline.api.routes.records import RecordId
from sync_pipeline.api.security.access import Reader
from sync_pipeline.api.services import Services, services
from sync_pipeline.tracking.read import day_range, history
from sync_pipeline.tracking.read.history import Record

router = APIRouter(tags=["records"])


@router.get(
    "/sync-status/{id}/days", summary="Some days of a batch, again", responses=responses(404)
)
def days_of_batch(
    caller: Reader,
    record_id: RecordId,
    given: Annotated[Services, Depends(services)],
    first: Annotated[Day, Query(alias="from", description="days from this one on")],
    last: Annotated[Day, Query(alias="to", description="days up to this one")],
) -> Envelope[DetailOut]:
    """A batch as it is now, with the days of a range alone and every attempt at them."""
    record: Record | None = given.pool.run(lambda cursor: history.record(cursor, record_id))
    if record is None or record.kind != "batch":
        raise no_record(record_id)
    found = given.pool.run(lambda cursor: day_range.attempts(cursor, record_id, first, last))
    return Envelope(
        data=DetailOut(
            record=RecordOut.of(record, given.links),
            days=[DayOut.model_validate(each) for each in found if not each.superseded],
            attempts=[AttemptOut.model_validate(each) for each in reversed(found)],
        )
    )
