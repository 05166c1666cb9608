"""Whether the server is up, whether what it needs is, and figures for monitoring."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from sync_pipeline.api.models import HealthOut
from sync_pipeline.api.problems import responses
from sync_pipeline.api.security.access import Reader
from sync_pipeline.api.services import Services, services

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
    out = given.readiness.look()
    return JSONResponse(out.model_dump(), 200 if out.ready else 503)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    responses=responses(),
)
def metrics(caller: Reader, given: Annotated[Services, Depends(services)]) -> Response:
    """From the records, at most some seconds old, and of this server."""
    return Response(given.metrics.text(), media_type=_TEXT)
