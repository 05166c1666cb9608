"""The page: one HTML for all of its addresses, and the files it is made of."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from sync_pipeline.api.problems import ProblemError

STATIC = Path(__file__).parent.parent / "static"
_HTML = STATIC / "index.html"
_ASK_AGAIN = {"Cache-Control": "no-cache"}  # a browser asks whether its copy is still the latest

router = APIRouter(include_in_schema=False)


class _Static(StaticFiles):
    """Files whose copies a browser may keep, and asks about each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except ValueError:  # a NUL in a path
            raise ProblemError(404, "not_found", "there is no such file") from None
        response.headers.update(_ASK_AGAIN)
        return response


@router.get("/")
def root() -> RedirectResponse:
    """Leads to the page."""
    return RedirectResponse("/sync-status", 307)


@router.get("/sync-status")
@router.get("/sync-status/calendar")
@router.get("/sync-status/{record_id:int}")
def page(record_id: int | None = None) -> FileResponse:
    """The page; its script reads which part of it is meant from the address."""
    if not _HTML.is_file():
        raise ProblemError(404, "no_page", "this installation holds no page; the API is at /api/v1")
    return FileResponse(_HTML, headers=_ASK_AGAIN)


def install(app: FastAPI) -> None:
    """Add the page and its files to `app`."""
    app.include_router(router)
    if STATIC.is_dir():
        app.mount("/static", _Static(directory=STATIC), name="static")
