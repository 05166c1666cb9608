"""The live stream: every change of a record as a server-sent event."""

import math
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from sync_pipeline.api.live.broker import Stream, StreamSignal, ping
from sync_pipeline.api.live.listener import MAX_REPLAYED, chunk_of
from sync_pipeline.api.problems import ProblemError, responses
from sync_pipeline.api.security.access import Reader
from sync_pipeline.api.security.tokens import Caller
from sync_pipeline.api.services import Services, services
from sync_pipeline.errors import TrackingError
from sync_pipeline.tracking.read import history

_PING_SECONDS = 15.0
_BEGIN = b"retry: 1000\n\n"
_LATER = {"Retry-After": "5"}
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
    `event: ping`, every 15 s and at once when it changes: whether changes are heard of (`live`).
    """
    if given.broker.is_full(caller):
        raise ProblemError(
            503,
            "too_many_streams",
            "too many streams are open already; try again in a moment",
            headers=_LATER,
        )
    stream = given.broker.join(caller)  # before what was missed is read: nothing is in between
    try:
        missed = await run_in_threadpool(_missed, given, after if last is None else last)
    except BaseException:
        given.broker.leave(stream)
        raise
    return _Events(given, stream, missed)


class _Events(StreamingResponse):
    """The answer that goes on; its stream is forgotten however it ends."""

    def __init__(self, given: Services, stream: Stream, missed: bytes) -> None:
        super().__init__(
            _events(given, stream, missed),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )
        self._given = given
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._given.broker.leave(self._stream)


async def _events(given: Services, stream: Stream, missed: bytes) -> AsyncIterator[bytes]:
    yield _BEGIN + missed + ping(given.broker.live)
    while (seconds := _seconds_left(stream.of)) > 0:
        what = await stream.next(min(seconds, _PING_SECONDS))
        if what is None:
            yield ping(given.broker.live)
        elif what is StreamSignal.END:
            return
        elif what is StreamSignal.RESET:
            try:
                yield await run_in_threadpool(_reset, given)
            except TrackingError:
                return  # whoever listens comes back
        elif isinstance(what, bytes):
            yield what


def _seconds_left(of: Caller) -> float:
    """Return how long the session of whoever listens lasts."""
    return math.inf if of.until is None else of.until - time.time()


def _missed(given: Services, after: int | None) -> bytes:
    """Return what a stream begins with: what changed since `after`, or where it begins."""
    latest = given.pool.run(history.latest_change)
    if after is None:
        return f"id: {latest}\n\n".encode()
    if after > latest:  # the database is an older one now
        return _reset(given)
    found = given.pool.run(lambda cursor: history.changed_after(cursor, after, MAX_REPLAYED + 1))
    return _reset(given) if len(found) > MAX_REPLAYED else chunk_of(found, given.links)


def _reset(given: Services) -> bytes:
    change = given.pool.run(history.latest_change)
    return f'event: reset\nid: {change}\ndata: {{"change": {change}}}\n\n'.encode()
