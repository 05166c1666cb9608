"""Checks every request (host name, proxy, body) and adds security headers to every response.

Does not authenticate callers: see `security/`.
"""

from typing import Any

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync_pipeline.api.problems import ProblemError, problem_response, too_late

MAX_BODY_BYTES = 16 * 1024
BODY_SECONDS = 10.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Headers that proxies add. A proxy that adds none of them often uses HTTP/1.0 (nginx's default),
# whereas browsers, curl and HTTP libraries use 1.1.
_PROXY_HEADERS = (
    *("forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host"),
    *("x-forwarded-proto", "x-forwarded-port", "x-forwarded-server", "x-original-host"),
)


class RequestGuard:
    """Rejects invalid requests before they reach the application; adds headers to all responses.

    `hosts` are the accepted `Host` names; None accepts any name. `local_only` rejects requests that
    come through a proxy; it is set if there are no tokens, because a remote client behind a proxy
    would be treated as local.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, *, local_only: bool) -> None:
        self._app = app
        self._hosts = hosts
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _HEADERS.items():
                    sent[name] = value
                sent.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check_origin(scope, headers)
            with anyio.fail_after(BODY_SECONDS):
                body = await _read_body(headers, receive)
        except TimeoutError:
            await problem_response(too_late())(scope, receive, send_with_headers)
            return
        except ProblemError as problem:
            await problem_response(problem)(scope, receive, send_with_headers)
            return
        await self._app(scope, _replay(body, receive), send_with_headers)

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Raise ProblemError 421 for an unknown host name, or 403 for a disallowed proxy."""
        if not self._accepts_host(headers.get("host", "")):
            raise ProblemError(
                421,
                "unknown_host",
                "this server does not accept this host name; see SYNC_PAGE_URL",
            )
        if self._local_only and _came_through_proxy(scope, headers):
            raise ProblemError(
                403,
                "through_proxy",
                "this server has no API tokens and rejects requests that come through a proxy; "
                "set SYNC_API_TOKENS (docs/api.md)",
            )

    def _accepts_host(self, host: str) -> bool:
        if self._hosts is None:
            return True
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        return (name if name and port.isdigit() else host).lower() in self._hosts


def _came_through_proxy(scope: Scope, headers: Headers) -> bool:
    return scope["http_version"] == "1.0" or any(name in headers for name in _PROXY_HEADERS)


async def _read_body(headers: Headers, receive: Receive) -> list[Message]:
    """Return the ASGI messages that contain the request body.

    Raises ProblemError 413 if the body is too large, or 415 if its Content-Type is not JSON.
    """
    length = headers.get("content-length")
    if length is None and "transfer-encoding" not in headers:
        return []  # the request has no body
    if length is not None and (not length.isdigit() or int(length) > MAX_BODY_BYTES):
        raise _too_large()
    size = 0
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if size and media_type != "application/json":
        raise ProblemError(
            415, "not_declared_json", "send JSON with Content-Type: application/json"
        )
    return messages


def _too_large() -> ProblemError:
    return ProblemError(
        413,
        "too_large",
        f"the request body is larger than {MAX_BODY_BYTES} bytes",
        max=MAX_BODY_BYTES,
    )


def _replay(messages: list[Message], receive: Receive) -> Receive:
    """Return a function that returns `messages` one by one and then calls `receive`."""
    remaining: Any = iter(messages)

    async def replay() -> Message:
        for message in remaining:
            return message  # type: ignore[no-any-return]
        return await receive()

    return replay
