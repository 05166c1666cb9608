"""The services that the routes use, created once per application.

Does not read settings: see `config.py`.
"""

import threading
from dataclasses import dataclass
from typing import cast

from fastapi import Request

from sync_pipeline.api.catalogue import Catalogue
from sync_pipeline.api.config import Config
from sync_pipeline.api.links import Links
from sync_pipeline.api.live.broker import Broker
from sync_pipeline.api.metrics import Metrics
from sync_pipeline.api.readiness import Readiness
from sync_pipeline.api.security.rate_limit import RateLimit
from sync_pipeline.api.security.tokens import Authority
from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.database.pool import ReadOnlyPool

_CONNECTIONS = 8
_WRITE_SLOTS = 10  # out of the 40 threads in which Starlette runs sync routes
_STATEMENT_SECONDS = 10.0


@dataclass(frozen=True)
class Services:
    """The services of one application."""

    config: Config
    pool: ReadOnlyPool
    dagster: Dagster
    links: Links
    catalogue: Catalogue
    authority: Authority
    rate_limit: RateLimit
    broker: Broker
    metrics: Metrics
    readiness: Readiness
    write_slots: threading.BoundedSemaphore


def make_services(config: Config) -> Services:
    """Return the services of an application, without connecting to anything."""
    pool = ReadOnlyPool(
        config.tracking_url,
        config.tracking_setting,
        size=_CONNECTIONS,
        statement_seconds=_STATEMENT_SECONDS,
        purpose="api",
    )
    dagster = Dagster(config.dagster_webserver_url)
    broker = Broker()
    return Services(
        config=config,
        pool=pool,
        dagster=dagster,
        links=Links(config.dagster_public_url),
        catalogue=Catalogue(dagster),
        authority=Authority(config.tokens, config.secret),
        rate_limit=RateLimit(),
        broker=broker,
        metrics=Metrics(pool, broker),
        readiness=Readiness(pool, dagster),
        write_slots=threading.BoundedSemaphore(_WRITE_SLOTS),
    )


async def get_services(request: Request) -> Services:
    """Return the services of the application that handles `request`."""
    return cast(Services, request.app.state.services)
