"""The caller's identity, and the page's sign-in and sign-out.

Does not check tokens or sessions: see `security/`.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from sync_pipeline.api.authorization import SESSION_COOKIE, Reader, require_same_site
from sync_pipeline.api.models import Envelope, MeOut, SessionIn
from sync_pipeline.api.problems import ProblemError, responses
from sync_pipeline.api.security.tokens import LOCAL, SESSION_SECONDS
from sync_pipeline.api.services import Services, get_services

router = APIRouter(tags=["session"])


@router.get("/me", summary="Get the caller", responses=responses())
def me(caller: Reader) -> Envelope[MeOut]:
    """Return the caller's name and role."""
    return Envelope(data=MeOut(role=caller.role, user=caller.name))


@router.post(
    "/session",
    summary="Sign in with a token",
    dependencies=[Depends(require_same_site)],
    responses=responses(413, 415),
)
def sign_in(
    request: SessionIn, services: Annotated[Services, Depends(get_services)], response: Response
) -> Envelope[MeOut]:
    """Check the token and set a session cookie that is valid for 12 hours.

    Returns 401 if the token is invalid.
    """
    caller = LOCAL
    if services.authority.requires_token:
        known = services.authority.by_token(request.token.strip())
        if known is None:
            raise ProblemError(401, "wrong_token", "invalid token", field="token")
        caller, cookie = services.authority.begin_session(known)
        response.set_cookie(
            SESSION_COOKIE,
            cookie,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=services.config.https,
        )
    return Envelope(data=MeOut(role=caller.role, user=caller.name))


@router.delete(
    "/session",
    status_code=204,
    summary="Sign out",
    dependencies=[Depends(require_same_site)],
    responses=responses(),
)
async def sign_out(
    caller: Reader,
    services: Annotated[Services, Depends(get_services)],
    response: Response,
) -> None:
    """Delete the session cookie, and end the session and its event streams."""
    if caller.how == "session":
        services.authority.end_session(caller)
        services.broker.end_session(caller.session)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
