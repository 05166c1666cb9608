"""Liveness, readiness and metrics, for monitoring.

Does not collect them: see `api/readiness.py` and `api/metrics.py`.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from sync_pipeline.api.authorization import Reader
from sync_pipeline.api.models import HealthOut
from sync_pipeline.api.problems import responses
from sync_pipeline.api.services import Services, get_services

_TEXT = "text/plain; version=1.0.0; charset=utf-8"

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Check liveness", response_class=PlainTextResponse)
async def healthz() -> str:
    """Return 200 while the process is running, without checking anything else."""
    return "ok\n"


@router.get(
    "/readyz",
    summary="Check readiness",
    responses={503: {"description": "Not ready", "model": HealthOut}},
)
def readyz(services: Annotated[Services, Depends(get_services)]) -> JSONResponse:
    """Return 200 if the tracking tables are readable and at the required version, else 503.

    The response also states whether Dagster responds, but this does not affect the status.
    """
    health = services.readiness.check()
    return JSONResponse(health.model_dump(), 200 if health.ready else 503)


@router.get(
    "/metrics",
    summary="Get metrics",
    response_class=PlainTextResponse,
    responses=responses(),
)
def metrics(caller: Reader, services: Annotated[Services, Depends(get_services)]) -> Response:
    """Return the metrics for this server and for the records, in the Prometheus text format.

    The record metrics are at most 15 seconds old.
    """
    return Response(services.metrics.text(), media_type=_TEXT)
