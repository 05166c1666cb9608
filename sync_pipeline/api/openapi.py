"""Adds the problem schema and links between operations to the OpenAPI document.

Also rejects query parameters that the document does not define. The descriptions are in `routes/`
and `models.py`.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from sync_pipeline.api.problems import UNKNOWN_FIELD, ProblemError, ProblemOut

_SCHEMAS = "#/components/schemas/{model}"
# Schemas of FastAPI's default errors, which this API never returns.
_UNUSED = ("HTTPValidationError", "ValidationError")

LINKS: dict[str, Any] = {
    name: {"operationId": name, "parameters": {"id": "$response.body#/data/record/id"}}
    for name in ("get_record", "cancel", "retry")
}
"""Links from a response with a record to the operations on that record."""


def operation_id(route: APIRoute) -> str:
    """Return the operationId of a route."""
    return route.name


def install(app: FastAPI) -> None:
    """Make `app` serve its OpenAPI document with the problem schema added."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            schemas = document["components"]["schemas"]
            schemas["ProblemOut"] = ProblemOut.model_json_schema(ref_template=_SCHEMAS)
            for unused in _UNUSED:
                schemas.pop(unused, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def reject_unknown_query(app: FastAPI) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that rejects query parameters not defined in the OpenAPI document.

    Otherwise, a misspelled filter would be ignored, and all records would be returned. The
    dependency raises ProblemError 422.
    """

    async def reject(request: Request) -> None:
        if not request.query_params:
            return
        known = {
            parameter["name"]
            for methods in app.openapi()["paths"].values()
            for operation in methods.values()
            if operation["operationId"] == request.scope["route"].name
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query"
        }
        for name in request.query_params:
            if name not in known:
                raise ProblemError(
                    422, "unknown_field", f"{name}: {UNKNOWN_FIELD}", field=name, name=name
                )

    return reject


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that the OpenAPI document defines for a path."""
    return sorted(
        method.upper()
        for template, methods in app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        for method in methods
    )
