"""What the routes work with, made once for an application."""

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
from sync_pipeline.database.pool import ReadingPool

_CONNECTIONS = 8
_WRITERS = 10  # of 40 threads
_STATEMENT_SECONDS = 10.0


@dataclass(frozen=True)
class Services:
    """Of one application."""

    config: Config
    pool: ReadingPool
    dagster: Dagster
    links: Links
    catalogue: Catalogue
    authority: Authority
    turns: RateLimit
    broker: Broker
    metrics: Metrics
    readiness: Readiness
    writers: threading.BoundedSemaphore


def make_services(config: Config) -> Services:
    """Return the services of an application; nothing is connected to yet."""
    pool = ReadingPool(
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
        turns=RateLimit(),
        broker=broker,
        metrics=Metrics(pool, broker),
        readiness=Readiness(pool, dagster),
        writers=threading.BoundedSemaphore(_WRITERS),
    )


async def services(request: Request) -> Services:
    """Return the services of the application that a request came to."""
    return cast(Services, request.app.state.services)
