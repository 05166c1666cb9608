"""The live stream: every change of a record as a server-sent event."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from sync_pipeline.api.access import Reader
from sync_pipeline.api.broker import Word
from sync_pipeline.api.listener import MOST_REPLAYED, chunk_of
from sync_pipeline.api.problems import ProblemError, responses
from sync_pipeline.api.services import Services, services
from sync_pipeline.errors import TrackingError
from sync_pipeline.tracking import history

MOST_STREAMS = 2000
_COMMENT_SECONDS = 15.0
_BEGIN = b"retry: 1000\n\n"
_COMMENT = b": still here\n\n"
_HIGHEST = 2**63 - 1

router = APIRouter(tags=["events"])


@router.get(
    "/events",
    summary="Every change of a record, live",
    response_class=StreamingResponse,
    responses={
        **responses(),
        200: {"description": "Events", "content": {"text/event-stream": {"schema": {}}}},
    },
)
async def events(
    caller: Reader,
    given: Annotated[Services, Depends(services)],
    after: Annotated[int | None, Query(ge=0, le=_HIGHEST, description="a 'change' seen")] = None,
    last: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=_HIGHEST)] = None,
) -> StreamingResponse:
    """`event: record`, its `data` a record, its `id` the record's change; all that changed since
    `Last-Event-ID` or `after` comes first. `event: reset`: too much was missed, read lists anew.
    """
    if len(given.broker) >= MOST_STREAMS:
        raise ProblemError(503, f"{MOST_STREAMS} streams are open already; try again in a moment")
    return StreamingResponse(
        _stream(given, after if last is None else last),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _stream(given: Services, after: int | None) -> AsyncIterator[bytes]:
    stream = given.broker.join()  # before what was missed is read, so that nothing is in between
    try:
        yield _BEGIN
        try:
            yield await run_in_threadpool(_missed, given, after)
        except TrackingError:
            return  # whoever listens tries again
        while True:
            what = await stream.next(_COMMENT_SECONDS)
            if what is None:
                yield _COMMENT
            elif what is Word.END:
                return
            elif what is Word.RESET:
                yield await run_in_threadpool(_reset, given)
            elif isinstance(what, bytes):
                yield what
    finally:
        given.broker.leave(stream)


def _missed(given: Services, after: int | None) -> bytes:
    """Return what a stream begins with: what changed since `after`, or where it begins."""
    if after is None:
        change = given.pool.run(history.latest_change)
        return f"id: {change}\n\n".encode()
    found = given.pool.run(lambda cursor: history.changed_after(cursor, after, MOST_REPLAYED + 1))
    return _reset(given) if len(found) > MOST_REPLAYED else chunk_of(found, given.links)


def _reset(given: Services) -> bytes:
    change = given.pool.run(history.latest_change)
    return f'event: reset\nid: {change}\ndata: {{"change": {change}}}\n\n'.encode()
