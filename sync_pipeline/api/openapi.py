"""The OpenAPI document, complete: problems have their schema, and answers lead on to a record."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from sync_pipeline.api.problems import UNKNOWN, ProblemError, ProblemOut

_SCHEMAS = "#/components/schemas/{model}"
_UNUSED = ("HTTPValidationError", "ValidationError")  # FastAPI's own errors, never given here

LINKS: dict[str, Any] = {
    name: {"operationId": name, "parameters": {"id": "$response.body#/data/record/id"}}
    for name in ("one_record", "cancel", "retry")
}
"""What can be done with the record in an answer."""


def operation_id(route: APIRoute) -> str:
    """Return the name of a call in the document."""
    return route.name


def install(app: FastAPI) -> None:
    """Let `app` give that document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            schemas = found["components"]["schemas"]
            schemas["ProblemOut"] = ProblemOut.model_json_schema(ref_template=_SCHEMAS)
            for unused in _UNUSED:
                schemas.pop(unused, None)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def known_query(app: FastAPI) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that refuses what the document does not have in the query of a call: a
    filter whose name is mistyped is not to find everything."""

    async def only_known(request: Request) -> None:
        if not request.query_params:
            return
        known = {
            parameter["name"]
            for methods in app.openapi()["paths"].values()
            for call in methods.values()
            if call["operationId"] == request.scope["route"].name
            for parameter in call.get("parameters", ())
            if parameter["in"] == "query"
        }
        for name in request.query_params:
            if name not in known:
                raise ProblemError(
                    422, "unknown_field", f"{name}: {UNKNOWN}", field=name, name=name
                )

    return only_known


def methods_at(app: FastAPI, path: str) -> list[str]:
    """Return the methods that the document has for an address."""
    return sorted(
        method.upper()
        for template, methods in app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        for method in methods
    )
