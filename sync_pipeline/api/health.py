"""Whether the server is up, whether what it needs is, and figures for monitoring."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from sync_pipeline.api.access import Reader
from sync_pipeline.api.models import HealthOut
from sync_pipeline.api.problems import responses
from sync_pipeline.api.services import Services, services
from sync_pipeline.database.migrate import code_version, version_of
from sync_pipeline.errors import StackError, SyncError

_TIMEOUT_SECONDS = 3.0
_TEXT = "text/plain; version=1.0.0; charset=utf-8"

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process is up", response_class=PlainTextResponse)
async def healthz() -> str:
    """Answers without looking at anything else."""
    return "ok\n"


@router.get(
    "/readyz",
    summary="Whether the tables are there",
    responses={503: {"description": "Not ready", "model": HealthOut}},
)
def readyz(given: Annotated[Services, Depends(services)]) -> JSONResponse:
    """Ready: the tracking tables can be read and are at this version. Dagster is only told of."""
    try:
        found, needed = given.pool.run(version_of), code_version()
        ready = found == needed
        database = f"at version {found}" if ready else f"at version {found}, needs {needed}"
    except SyncError:
        ready, database = False, "cannot be read; the server's log says why"
    try:
        given.dagster.graphql("{ version }", timeout_seconds=_TIMEOUT_SECONDS)
        dagster = "answers"
    except StackError:
        dagster = "does not answer; nothing can be launched"
    out = HealthOut(ready=ready, database=database, dagster=dagster)
    return JSONResponse(out.model_dump(), 200 if ready else 503)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    responses=responses(),
)
def metrics(caller: Reader, given: Annotated[Services, Depends(services)]) -> Response:
    """From the records, at most some seconds old, and of this server."""
    return Response(given.metrics.text(), media_type=_TEXT)
