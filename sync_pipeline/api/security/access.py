"""What each call asks of its caller, as dependencies of the routes."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from sync_pipeline.api.config import origin_of
from sync_pipeline.api.problems import ProblemError
from sync_pipeline.api.security.tokens import LOCAL, Caller
from sync_pipeline.api.services import Services, services

SESSION_COOKIE = "sync_session"
CSRF_HEADER = "X-CSRF-Token"
_bearer = HTTPBearer(auto_error=False, description="a token of SYNC_API_TOKENS")
_cookie = APIKeyCookie(name=SESSION_COOKIE, auto_error=False, description="the page's session")


async def same_site(request: Request, given: Annotated[Services, Depends(services)]) -> None:
    """Refuse a write that a browser sends for another site's page."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (
        origin is not None and not _is_own(origin, request, given.config.origin)
    ):
        raise ProblemError(
            403,
            "cross_site",
            "writes are taken from this server's own page only, not from another's",
        )


def _is_own(origin: str, request: Request, page: str | None) -> bool:
    """Return whether `origin` is where this server is called, or the page's own.

    A proxy may name the server as it likes; which page is ours the setting says.
    """
    if urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower():
        return True
    try:
        return page is not None and origin_of(origin) == page
    except ValueError:
        return False


async def reader(
    request: Request,
    given: Annotated[Services, Depends(services)],
    _token: Annotated[object, Depends(_bearer)],
    _session: Annotated[object, Depends(_cookie)],
) -> Caller:
    """Return who is asking. Raises ProblemError 401."""
    if not given.authority.asks_for_tokens:
        return LOCAL
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    caller = None
    if kind.lower() == "bearer":
        caller = given.authority.by_token(shown.strip())
    elif SESSION_COOKIE in request.cookies:
        caller = given.authority.by_session(request.cookies[SESSION_COOKIE])
    if caller is None:
        raise ProblemError(
            401,
            "not_signed_in",
            "show a token: Authorization: Bearer …, or sign in on the page",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return caller


async def operator(
    request: Request,
    caller: Annotated[Caller, Depends(reader)],
    given: Annotated[Services, Depends(services)],
    _site: Annotated[None, Depends(same_site)],
) -> Caller:
    """Return who is asking, who may write. Raises ProblemError 401 or 403."""
    if caller.role != "operator":
        raise ProblemError(
            403,
            "read_only",
            f"{caller.name} may read only; ask for a token of an operator",
            name=caller.name,
        )
    refuse_forged(request, caller, given)
    return caller


def refuse_forged(request: Request, caller: Caller, given: Services) -> None:
    """Raise ProblemError 403 for a browser's write without what this server gave its page."""
    by_browser = "origin" in request.headers or "sec-fetch-site" in request.headers
    if caller.how == "session" or (caller.how == "local" and by_browser):
        shown = request.headers.get(CSRF_HEADER, "")
        if not given.authority.is_csrf_token(caller, shown):
            raise ProblemError(
                403,
                "no_csrf_token",
                f"the header {CSRF_HEADER} must be the csrf_token of /api/v1/me",
            )


async def launcher(
    caller: Annotated[Caller, Depends(operator)], given: Annotated[Services, Depends(services)]
) -> Caller:
    """Return who is asking, who has a turn to launch. Raises ProblemError 401, 403 or 429."""
    wait = given.turns.take(caller.name)
    if wait:
        raise ProblemError(
            429,
            "too_many_launches",
            f"{caller.name} has launched too much in the last minute; try again in {wait:.0f} s",
            headers={"Retry-After": str(int(wait) + 1)},
            name=caller.name,
            seconds=int(wait) + 1,
        )
    return caller


Reader = Annotated[Caller, Depends(reader)]
Operator = Annotated[Caller, Depends(operator)]
Launcher = Annotated[Caller, Depends(launcher)]
