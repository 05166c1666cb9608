"""Who is asking, and the page's session."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from sync_pipeline.api.models import Envelope, MeOut, SessionIn
from sync_pipeline.api.problems import ProblemError, responses
from sync_pipeline.api.security.access import SESSION_COOKIE, Reader, refuse_forged, same_site
from sync_pipeline.api.security.tokens import LOCAL, SESSION_SECONDS, Caller
from sync_pipeline.api.services import Services, services

router = APIRouter(tags=["session"])


@router.get("/me", summary="Who is asking", responses=responses())
def me(caller: Reader, given: Annotated[Services, Depends(services)]) -> Envelope[MeOut]:
    """The caller's role, and what a browser shows as X-CSRF-Token with each write."""
    return Envelope(data=_me(given, caller))


@router.post(
    "/session",
    summary="Sign in with a token",
    dependencies=[Depends(same_site)],
    responses=responses(413, 415),
)
def begin(
    shown: SessionIn, given: Annotated[Services, Depends(services)], response: Response
) -> Envelope[MeOut]:
    """Sets a cookie that only this server's own page sends."""
    caller = LOCAL
    if given.authority.asks_for_tokens:
        known = given.authority.by_token(shown.token.strip())
        if known is None:
            raise ProblemError(
                401,
                "wrong_token",
                "this is no token of this server; ask its operator",
                field="token",
            )
        cookie = given.authority.begin_session(known)
        caller = Caller(known.name, known.role, "session", cookie)
        response.set_cookie(
            SESSION_COOKIE,
            cookie,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=given.config.https,
        )
    return Envelope(data=_me(given, caller))


@router.delete(
    "/session",
    status_code=204,
    summary="Sign out",
    dependencies=[Depends(same_site)],
    responses=responses(),
)
async def end(
    request: Request,
    caller: Reader,
    given: Annotated[Services, Depends(services)],
    response: Response,
) -> None:
    """Takes the cookie back; it is of no use any more, and its streams end."""
    refuse_forged(request, caller, given)
    if caller.how == "session":
        given.authority.end_session(caller)
        given.broker.end_session(caller.session)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")


def _me(given: Services, caller: Caller) -> MeOut:
    return MeOut(role=caller.role, user=caller.name, csrf_token=given.authority.csrf_token(caller))
