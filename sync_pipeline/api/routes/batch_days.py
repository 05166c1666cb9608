"""Read some of a batch's days, for clients that follow a long batch.

Does not return whole batches: see `records.py`.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sync_pipeline.api.authorization import Reader
from sync_pipeline.api.models import AttemptOut, Day, DayOut, DetailOut, Envelope, RecordOut
from sync_pipeline.api.problems import no_record, responses
from sync_pipeline.api.routes.records import RecordId
from sync_pipeline.api.services import Services, get_services
from sync_pipeline.tracking.read import day_range, history
from sync_pipeline.tracking.read.history import Record

router = APIRouter(tags=["records"])


@router.get(
    "/sync-status/{id}/days", summary="Get a range of a batch's days", responses=responses(404)
)
def days_of_batch(
    caller: Reader,
    record_id: RecordId,
    services: Annotated[Services, Depends(get_services)],
    first: Annotated[Day, Query(alias="from", description="The first day, inclusive.")],
    last: Annotated[Day, Query(alias="to", description="The last day, inclusive.")],
) -> Envelope[DetailOut]:
    """Return a batch with only the days in the range, and all attempts to sync them.

    Returns 404 if the record does not exist or is not a batch.
    """
    record: Record | None = services.pool.run(lambda cursor: history.record(cursor, record_id))
    if record is None or record.kind != "batch":
        raise no_record(record_id)
    found = services.pool.run(lambda cursor: day_range.attempts(cursor, record_id, first, last))
    return Envelope(
        data=DetailOut(
            record=RecordOut.of(record, services.links),
            days=[DayOut.model_validate(each) for each in found if not each.superseded],
            attempts=[AttemptOut.model_validate(each) for each in reversed(found)],
        )
    )
