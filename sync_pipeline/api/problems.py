"""Error responses as `application/problem+json` (RFC 9457), with a `code` and a message.

Messages mention API calls, never shell commands. The codes are listed in docs/api.md.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from sync_pipeline.errors import (
    BusyError,
    RequestError,
    StackError,
    SyncError,
    TrackingError,
    one_line,
)

_logger = logging.getLogger(__name__)

_TITLES = {
    401: "Unauthorized",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}
_UNAVAILABLE = (
    (BusyError, "too_busy"),
    (TrackingError, "database_unavailable"),
    (StackError, "dagster_unavailable"),
    (SyncError, "not_available"),
)
_INVALID = {
    "missing": "missing_field",
    "extra_forbidden": "unknown_field",
    "invalid_date": "invalid_date",
}
_NOT_JSON = "the request body is not valid JSON"
UNKNOWN_FIELD = "unknown name; remove it or correct its spelling"
_DETAILS = {
    404: ("not_found", "not found; GET /api/v1/openapi.json lists all calls"),
    405: ("wrong_method", "method not allowed; GET /api/v1/openapi.json lists all calls"),
}


class ProblemOut(BaseModel):
    """An error."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Invalid request",
                "status": 422,
                "detail": "dataset orders: 2024-12-31 is before its first day 2025-01-01; …",
                "field": "start_date",
                "code": "before_first_day",
                "params": {
                    "dataset": "orders",
                    "day": "2024-12-31",
                    "first_day": "2025-01-01",
                },
            }
        }
    )
    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What went wrong and how to fix it, in one sentence.")
    field: str | None = Field(
        default=None, description="The field or parameter that caused the error, if any."
    )
    code: str = Field(description="A stable identifier for the error.")
    params: dict[str, str | int] = Field(description="The values that appear in `detail`, by name.")


class ProblemError(Exception):
    """An error response. `code` and `params` allow clients to translate `detail`."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        **params: str | int,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.params = params
        self.detail = detail
        self.field = field
        self.headers = headers

    @classmethod
    def of(cls, error: RequestError, status: int, *, field: str | None = None) -> "ProblemError":
        """Return `error` as a problem with this HTTP status."""
        problem = cls(status, error.code, one_line(error), field=field)
        problem.params = error.params
        return problem


def no_record(record_id: int) -> ProblemError:
    """Return a 404 problem for an unknown record ID."""
    return ProblemError(
        404,
        "no_record",
        f"record {record_id} not found; see GET /api/v1/sync-status/list",
        id=record_id,
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of a route's error responses.

    401, 403, 421, 422 and 503 are always included, because every route can return them.
    """
    return {
        status: {
            "description": _TITLES[status],
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
            },
        }
        for status in sorted({401, 403, 421, 422, 503, *statuses})
    }


def problem_response(problem: ProblemError) -> JSONResponse:
    """Return the HTTP response for `problem`."""
    title = _TITLES.get(problem.status, "Error")
    body = ProblemOut(
        title=title,
        status=problem.status,
        detail=problem.detail,
        field=problem.field,
        code=problem.code,
        params=problem.params,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True),
        problem.status,
        headers=dict(problem.headers or {}),
        media_type="application/problem+json",
    )


def too_late() -> ProblemError:
    """Return the problem of a request whose headers or body take too long to arrive."""
    return ProblemError(408, "request_timeout", "the request did not arrive in time")


def install(app: FastAPI, allowed_methods: Callable[[str], Sequence[str]]) -> None:
    """Make `app` return every error as a problem.

    `allowed_methods` returns the methods that the OpenAPI document defines for a path.
    """

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> JSONResponse:
        return problem_response(error)

    @app.exception_handler(RequestError)
    async def on_request_error(request: Request, error: RequestError) -> JSONResponse:
        return problem_response(ProblemError.of(error, 422))

    @app.exception_handler(SyncError)
    async def on_unavailable(request: Request, error: SyncError) -> JSONResponse:
        code = next(code for kind, code in _UNAVAILABLE if isinstance(error, kind))
        return problem_response(
            ProblemError(503, code, one_line(error), headers={"Retry-After": "5"})
        )

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(_invalid(error))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:  # FastAPI could not parse the body as JSON
            return problem_response(ProblemError(422, "not_json", _NOT_JSON))
        code, detail = _DETAILS.get(error.status_code, ("refused", str(error.detail)))
        headers = dict(error.headers or {})
        # Starlette lists only the methods of the first route that matches the path.
        if error.status_code == 405 and (methods := allowed_methods(request.url.path)):
            headers["Allow"] = ", ".join(methods)
        return problem_response(ProblemError(error.status_code, code, detail, headers=headers))

    @app.exception_handler(Exception)
    async def on_exception(request: Request, error: Exception) -> JSONResponse:
        # The server logs the traceback. The message may contain secrets, so it is not returned.
        return problem_response(
            ProblemError(
                500,
                "internal_error",
                "internal error; please report it with the details in the server log",
            )
        )


def _invalid(error: RequestValidationError) -> ProblemError:
    """Return a request's first validation error as a problem."""
    found = error.errors()[0]
    path = [str(part) for part in found["loc"][1:] if not isinstance(part, int)]
    field = path[0] if path and found["type"] != "json_invalid" else None
    message = str(found["msg"])
    if found["type"] == "json_invalid":
        return ProblemError(422, "not_json", _NOT_JSON)
    if field is None:
        missing = found["type"] == "missing"
        message = "the request body is missing; send JSON" if missing else message
        return ProblemError(422, "no_body" if missing else "invalid", message)
    code = _INVALID.get(found["type"], "invalid")
    if found["type"] == "extra_forbidden":
        message = UNKNOWN_FIELD

    if not message.startswith(field):
        message = message.replace("Input should be", "must be")
        message = message.replace("Field required", "is required")
        message = f"{field}: {message}"
    return ProblemError(422, code, message, field=field, name=field)
