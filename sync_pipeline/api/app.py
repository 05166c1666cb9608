"""Assembles the FastAPI application: routes, error handlers, middleware and change listener.

Does not start a server: see `server.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync_pipeline.api import openapi, problems
from sync_pipeline.api.config import Config
from sync_pipeline.api.live.broker import StreamSignal
from sync_pipeline.api.live.listener import Listener
from sync_pipeline.api.middleware import RequestGuard
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
    """Return the complete application and its services. Does not open any connections."""
    app, services = make_app(config)
    guarded = RequestGuard(app, config.hosts, local_only=not config.tokens)
    return _count_requests(guarded, services), services


def make_app(config: Config) -> tuple[FastAPI, Services]:
    """Return the application (without middleware) and its services."""
    services = make_services(config)
    app = FastAPI(
        title="Sync Pipeline",
        version="1",
        description="Read the records of synced, running and failed days; launch, cancel and "
        "retry batches. docs/api.md describes which parts of the API are stable.",
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,  # these pages load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
        lifespan=_lifespan(services),
    )
    app.state.services = services
    problems.install(app, lambda path: openapi.allowed_methods(app, path))
    # `coverage` comes before `records`, because its path also matches `/sync-status/{id}`.
    for part in (coverage, batches, records, batch_days, events, session):
        app.include_router(
            part.router, prefix=BASE, dependencies=[Depends(openapi.reject_unknown_query(app))]
        )
    app.include_router(health.router)
    page.install(app)
    openapi.install(app)
    return app, services


def _lifespan(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def on_chunk(chunk: bytes | None) -> None:
            loop.call_soon_threadsafe(
                services.broker.publish, StreamSignal.RESET if chunk is None else chunk
            )

        services.catalogue.refresh()

        def on_state(live: bool) -> None:
            loop.call_soon_threadsafe(services.broker.set_live, live)

        listener = Listener(services.config, services.links, on_chunk, on_state)
        listener.start()
        yield
        services.broker.close()
        await asyncio.to_thread(listener.stop)
        services.pool.close()

    return lifespan


def _count_requests(app: ASGIApp, services: Services) -> ASGIApp:
    """Wrap `app` so that its responses are counted by method, route and status."""

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", None)
                if route is not None and scope["path"].startswith(BASE):
                    route = BASE + route.removeprefix(BASE)
                # Arbitrary methods and paths from clients would create unlimited time series.
                method = scope["method"] if scope["method"] in _METHODS else "other"
                services.metrics.count(method, route or "other", message["status"])
            await send(message)

        await app(scope, receive, send_counted if scope["type"] == "http" else send)

    return counting
