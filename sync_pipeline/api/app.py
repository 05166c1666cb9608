"""The application: routes, errors, guards, and the listener that runs beside them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync_pipeline.api import openapi, problems
from sync_pipeline.api.config import Config
from sync_pipeline.api.live.broker import StreamSignal
from sync_pipeline.api.live.listener import Listener
from sync_pipeline.api.middleware import Guard
from sync_pipeline.api.routes import (
    batch_days,
    batches,
    coverage,
    events,
    health,
    page,
    records,
    session,
)
from sync_pipeline.api.services import Services, make_services

BASE = "/api/v1"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def create_app(config: Config) -> tuple[ASGIApp, Services]:
    """Return the application, guarded, and what it works with. Nothing is connected to yet."""
    app, given = make_app(config)
    guarded = Guard(app, config.hosts, local_only=not config.tokens)
    return _counted(guarded, given), given


def make_app(config: Config) -> tuple[FastAPI, Services]:
    """Return the application alone, and what it works with."""
    given = make_services(config)
    app = FastAPI(
        title="Sync Pipeline",
        version="1",
        description="Which days are in, what is running, what failed; launching, cancelling and "
        "retrying batches. docs/api.md says what stays stable.",
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
        lifespan=_lifespan(given),
    )
    app.state.services = given
    problems.install(app, lambda path: openapi.methods_at(app, path))
    # Before a record's own address, which takes whatever is left.
    for part in (coverage, batches, records, batch_days, events, session):
        app.include_router(
            part.router, prefix=BASE, dependencies=[Depends(openapi.known_query(app))]
        )
    app.include_router(health.router)
    page.install(app)
    openapi.install(app)
    return app, given


def _lifespan(given: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def on_chunk(chunk: bytes | None) -> None:
            loop.call_soon_threadsafe(
                given.broker.publish, StreamSignal.RESET if chunk is None else chunk
            )

        given.catalogue.look()

        def on_state(live: bool) -> None:
            loop.call_soon_threadsafe(given.broker.set_live, live)

        listener = Listener(given.config, given.links, on_chunk, on_state)
        listener.start()
        yield
        given.broker.end()
        await asyncio.to_thread(listener.stop)
        given.pool.close()

    return lifespan


def _counted(app: ASGIApp, given: Services) -> ASGIApp:
    """Return `app`, with each of its answers counted by method, route and status."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = getattr(scope.get("route"), "path", None)
                if found is not None and scope["path"].startswith(BASE):
                    found = BASE + found.removeprefix(BASE)
                # Names that a caller makes up would be figures without end.
                method = scope["method"] if scope["method"] in _METHODS else "other"
                given.metrics.count(method, found or "other", message["status"])
            await send(message)

        await app(scope, receive, send_counted if scope["type"] == "http" else send)

    return counted
