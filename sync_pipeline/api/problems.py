"""What goes wrong, as application/problem+json: a sentence that says what to do."""

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
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible now",
    413: "Too large",
    415: "Not JSON",
    421: "Not this server",
    422: "Not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
}
_AWAY = (
    (BusyError, "too_busy"),
    (TrackingError, "database_unavailable"),
    (StackError, "dagster_unavailable"),
    (SyncError, "not_available"),
)
_INVALID = {"missing": "missing_field", "extra_forbidden": "unknown_field"}
_NOT_JSON = "the body is not valid JSON"
UNKNOWN = "is not known here; leave it out, or correct its name"
_DETAILS = {
    404: (
        "not_found",
        "there is nothing at this address; the calls are listed in /api/v1/openapi.json",
    ),
    405: ("wrong_method", "this address does not take that method; see /api/v1/openapi.json"),
}


class ProblemOut(BaseModel):
    """Why a call was not done."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not valid",
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
    detail: str = Field(description="one sentence, which says what to do")
    field: str | None = Field(default=None, description="what it is about, if it is one field")
    code: str = Field(description="what went wrong, in one word that stays")
    params: dict[str, str | int] = Field(description="what the sentence is about, by name")


class ProblemError(Exception):
    """A call that is not done, with the status and the sentence of its answer; `code` and `params`
    say the same in whatever language."""

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
        """Return what `error` says as a problem."""
        problem = cls(status, error.code, one_line(error), field=field)
        problem.params = error.params
        return problem


def no_record(record_id: int) -> ProblemError:
    """Return the problem of an id that no record has."""
    return ProblemError(
        404,
        "no_record",
        f"there is no record {record_id}; see /api/v1/sync-status/list",
        id=record_id,
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of these answers, for a route; 401, 403, 421, 422 and 503 any may
    give."""
    return {
        status: {
            "description": _TITLES[status],
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
            },
        }
        for status in sorted({401, 403, 421, 422, 503, *statuses})
    }


def answer(problem: ProblemError) -> JSONResponse:
    """Return the response that says `problem`."""
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


def install(app: FastAPI, methods_at: Callable[[str], Sequence[str]]) -> None:
    """Let every error of `app` be answered as a problem; `methods_at` knows the document."""

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestError)
    async def on_refused(request: Request, error: RequestError) -> JSONResponse:
        return answer(ProblemError.of(error, 422))

    @app.exception_handler(SyncError)
    async def on_unavailable(request: Request, error: SyncError) -> JSONResponse:
        code = next(code for kind, code in _AWAY if isinstance(error, kind))
        return answer(ProblemError(503, code, one_line(error), headers={"Retry-After": "5"}))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(_invalid(error))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:  # a body that could not even be read as JSON
            return answer(ProblemError(422, "not_json", _NOT_JSON))
        code, detail = _DETAILS.get(error.status_code, ("refused", str(error.detail)))
        headers = dict(error.headers or {})
        # The framework names only those of the first route that fits the address.
        if error.status_code == 405 and (methods := methods_at(request.url.path)):
            headers["Allow"] = ", ".join(methods)
        return answer(ProblemError(error.status_code, code, detail, headers=headers))

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        # The server logs it with its stack; what it says may hold anything.
        return answer(
            ProblemError(
                500, "internal_error", "a bug, please report it; the server's log says more"
            )
        )


def _invalid(error: RequestValidationError) -> ProblemError:
    """Return the first thing that is wrong with a request, by its field."""
    found = error.errors()[0]
    where = [str(part) for part in found["loc"][1:] if not isinstance(part, int)]
    field = where[0] if where and found["type"] != "json_invalid" else None
    said = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "json_invalid":
        return ProblemError(422, "not_json", _NOT_JSON)
    if field is None:
        missing = found["type"] == "missing"
        said = "the body is missing; send JSON" if missing else said
        return ProblemError(422, "no_body" if missing else "invalid", said)
    code = _INVALID.get(found["type"], "invalid")
    if found["type"] == "extra_forbidden":
        said = UNKNOWN
    elif found["type"] == "value_error" and "is not a date" in said:
        code = "invalid_date"
    if not said.startswith(field):
        said = said.replace("Input should be", "must be").replace("Field required", "is required")
        said = f"{field}: {said}"
    return ProblemError(422, code, said, field=field, name=field)
