"""The web page: one HTML file for all of its paths, and its static files.

Does not contain the page: see `static/`.
"""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from sync_pipeline.api.problems import ProblemError

STATIC = Path(__file__).parent.parent / "static"
_HTML = STATIC / "index.html"
_REVALIDATE = {"Cache-Control": "no-cache"}  # browsers revalidate a cached copy before using it

router = APIRouter(include_in_schema=False)


class _Static(StaticFiles):
    """Static files that browsers may cache but must revalidate before each use."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except ValueError:  # the path contains a NUL character
            raise ProblemError(404, "not_found", "file not found") from None
        response.headers.update(_REVALIDATE)
        return response


@router.get("/")
def root() -> RedirectResponse:
    """Redirect to the page."""
    return RedirectResponse("/sync-status", 307)


@router.get("/sync-status")
@router.get("/sync-status/calendar")
@router.get("/sync-status/{record_id:int}")
def page(record_id: int | None = None) -> FileResponse:
    """Return the page; its script chooses the view from the path."""
    if not _HTML.is_file():
        raise ProblemError(404, "no_page", "the web page is not installed; the API is at /api/v1")
    return FileResponse(_HTML, headers=_REVALIDATE)


def install(app: FastAPI) -> None:
    """Add the page and its files to `app`."""
    app.include_router(router)
    if STATIC.is_dir():
        app.mount("/static", _Static(directory=STATIC), name="static")
