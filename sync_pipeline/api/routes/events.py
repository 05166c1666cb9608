"""The event stream: every change to a record, as a server-sent event.

Does not receive or distribute the changes: see `live/`.
"""

import math
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from sync_pipeline.api.authorization import Reader
from sync_pipeline.api.live.broker import Stream, StreamSignal, ping
from sync_pipeline.api.live.listener import MAX_REPLAYED, chunk_of
from sync_pipeline.api.problems import ProblemError, responses
from sync_pipeline.api.security.tokens import Caller
from sync_pipeline.api.services import Services, get_services
from sync_pipeline.errors import TrackingError
from sync_pipeline.tracking.read import history

_PING_SECONDS = 15.0
_RECONNECT_AFTER = b"retry: 1000\n\n"
_RETRY_LATER = {"Retry-After": "5"}
_MAX_CHANGE = 2**63 - 1

router = APIRouter(tags=["events"])


@router.get(
    "/events",
    summary="Stream changes of records",
    response_class=StreamingResponse,
    responses={
        **responses(),
        200: {"description": "Events", "content": {"text/event-stream": {"schema": {}}}},
    },
)
async def events(
    caller: Reader,
    services: Annotated[Services, Depends(get_services)],
    after: Annotated[
        int | None, Query(ge=0, le=_MAX_CHANGE, description="The last `change` received.")
    ] = None,
    last: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=_MAX_CHANGE)] = None,
) -> StreamingResponse:
    """Stream server-sent events, starting with the changes since `Last-Event-ID` or `after`.

    `event: record` contains a record; its `id` is the record's `change`. `event: reset` means that
    too many changes were missed and the client should load its lists again. `event: ping` is sent
    every 15 seconds and whenever its `live` value changes; `live` is true while changes are being
    received. Returns 503 if too many streams are open or the database is unavailable.
    """
    if services.broker.is_full(caller):
        raise ProblemError(
            503,
            "too_many_streams",
            "too many event streams are open; close some, or try again in a moment",
            headers=_RETRY_LATER,
        )
    # Join before reading the missed changes, so that no change is lost in between.
    stream = services.broker.join(caller)
    try:
        missed = await run_in_threadpool(_missed, services, after if last is None else last)
    except BaseException:
        services.broker.leave(stream)
        raise
    return _Events(services, stream, missed)


class _Events(StreamingResponse):
    """A streaming response that removes its stream from the broker when it ends."""

    def __init__(self, services: Services, stream: Stream, missed: bytes) -> None:
        super().__init__(
            _events(services, stream, missed),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )
        self._services = services
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._services.broker.leave(self._stream)


async def _events(services: Services, stream: Stream, missed: bytes) -> AsyncIterator[bytes]:
    yield _RECONNECT_AFTER + missed + ping(services.broker.live)
    while (seconds := _seconds_left(stream.caller)) > 0:
        item = await stream.next(min(seconds, _PING_SECONDS))
        if item is None:
            yield ping(services.broker.live)
        elif item is StreamSignal.END:
            return
        elif item is StreamSignal.RESET:
            try:
                yield await run_in_threadpool(_reset, services)
            except TrackingError:
                return  # the client reconnects
        elif isinstance(item, bytes):
            yield item


def _seconds_left(caller: Caller) -> float:
    """Return the seconds until the caller's session ends."""
    return math.inf if caller.until is None else caller.until - time.time()


def _missed(services: Services, after: int | None) -> bytes:
    """Return a stream's first chunk: the changes since `after`, or only the number of the latest
    change if `after` is None."""
    latest = services.pool.run(history.latest_change)
    if after is None:
        return f"id: {latest}\n\n".encode()
    if after > latest:  # the database was restored to an earlier state
        return _reset(services)
    found = services.pool.run(lambda cursor: history.changed_after(cursor, after, MAX_REPLAYED + 1))
    return _reset(services) if len(found) > MAX_REPLAYED else chunk_of(found, services.links)


def _reset(services: Services) -> bytes:
    change = services.pool.run(history.latest_change)
    return f'event: reset\nid: {change}\ndata: {{"change": {change}}}\n\n'.encode()
