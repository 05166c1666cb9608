"""Route dependencies that authenticate and authorize requests.

Does not verify tokens and sessions: see `security/tokens.py`.
"""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from sync_pipeline.api.config import origin_of
from sync_pipeline.api.problems import ProblemError
from sync_pipeline.api.security.tokens import LOCAL, Caller
from sync_pipeline.api.services import Services, get_services

SESSION_COOKIE = "sync_session"
_bearer = HTTPBearer(auto_error=False, description="A token listed in SYNC_API_TOKENS.")
_cookie = APIKeyCookie(
    name=SESSION_COOKIE, auto_error=False, description="The page's session cookie."
)


async def require_same_site(
    request: Request, services: Annotated[Services, Depends(get_services)]
) -> None:
    """Raise ProblemError 403 if a browser sends a write on behalf of another site's page."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (
        origin is not None and not _is_own(origin, request, services.config.origin)
    ):
        raise ProblemError(
            403,
            "cross_site",
            "writes from another site's page are not allowed",
        )


def _is_own(origin: str, request: Request, page: str | None) -> bool:
    """Return whether `origin` has the host of the request, or is the configured origin `page`.

    Behind a proxy, the `Host` header may differ from the page's host, so `page` is checked too.
    """
    if urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower():
        return True
    try:
        return page is not None and origin_of(origin) == page
    except ValueError:
        return False


async def reader(
    request: Request,
    services: Annotated[Services, Depends(get_services)],
    _token: Annotated[object, Depends(_bearer)],
    _session: Annotated[object, Depends(_cookie)],
) -> Caller:
    """Return the authenticated caller. Raises ProblemError 401 if there is none."""
    if not services.authority.requires_token:
        return LOCAL
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    caller = None
    if scheme.lower() == "bearer":
        caller = services.authority.by_token(token.strip())
    elif SESSION_COOKIE in request.cookies:
        caller = services.authority.by_session(request.cookies[SESSION_COOKIE])
    if caller is None:
        raise ProblemError(
            401,
            "not_signed_in",
            "send a token (Authorization: Bearer …), or sign in on the page",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return caller


async def operator(
    caller: Annotated[Caller, Depends(reader)],
    _site: Annotated[None, Depends(require_same_site)],
) -> Caller:
    """Return the caller if it is allowed to write. Raises ProblemError 401 or 403 otherwise."""
    if caller.role != "operator":
        raise ProblemError(
            403,
            "read_only",
            f"{caller.name} has read-only access; use an operator token",
            name=caller.name,
        )
    return caller


async def launcher(
    caller: Annotated[Caller, Depends(operator)],
    services: Annotated[Services, Depends(get_services)],
) -> Caller:
    """Return the caller if it is allowed to launch a batch now.

    Raises ProblemError 401 or 403 otherwise, or 429 if it has reached the rate limit.
    """
    wait = services.rate_limit.acquire(caller.name)
    if wait:
        raise ProblemError(
            429,
            "too_many_launches",
            f"{caller.name} launched too many batches in the last minute; try again in "
            f"{int(wait) + 1} s",
            headers={"Retry-After": str(int(wait) + 1)},
            name=caller.name,
            seconds=int(wait) + 1,
        )
    return caller


Reader = Annotated[Caller, Depends(reader)]
Operator = Annotated[Caller, Depends(operator)]
Launcher = Annotated[Caller, Depends(launcher)]
