"""Around every request: who it was meant for, how large it may be, and headers on each answer."""

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync_pipeline.api.problems import ProblemError, answer

MAX_BODY_BYTES = 16 * 1024
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


# What a proxy adds to what it passes on. One that adds nothing often speaks HTTP/1.0 itself, as
# nginx does unless it is told otherwise; browsers, curl and programs speak 1.1.
_BY_PROXY = (
    *("forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host"),
    *("x-forwarded-proto", "x-forwarded-port", "x-forwarded-server", "x-original-host"),
)


class Guard:
    """The application, guarded. `hosts` are the names it may be called by, None for any; with
    `local_only` it answers no proxy, since whoever asks would be taken for somebody here."""

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

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _HEADERS.items():
                    sent[name] = value
                sent.setdefault("Cache-Control", "no-store")
            await send(message)

        if not self._is_ours(headers.get("host", "")):
            problem = ProblemError(
                421, "unknown_host", "this server does not go by that name; see SYNC_PAGE_URL"
            )
            await answer(problem)(scope, receive, send_guarded)
            return
        if self._local_only and _is_by_proxy(scope, headers):
            problem = ProblemError(
                403,
                "through_proxy",
                "this request came through a proxy, and without tokens everybody there would be "
                "an operator; set SYNC_API_TOKENS, see docs/api.md",
            )
            await answer(problem)(scope, receive, send_guarded)
            return
        body = await _body(headers, receive)
        if body is None:
            problem = ProblemError(
                413,
                "too_large",
                f"the body is larger than {MAX_BODY_BYTES} bytes; send less",
                most=MAX_BODY_BYTES,
            )
            await answer(problem)(scope, receive, send_guarded)
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if any(message.get("body") for message in body) and kind != "application/json":
            problem = ProblemError(
                415, "not_declared_json", "send JSON, with Content-Type: application/json"
            )
            await answer(problem)(scope, receive, send_guarded)
            return
        await self._app(scope, _again(body, receive), send_guarded)

    def _is_ours(self, host: str) -> bool:
        if self._hosts is None:
            return True
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        return (name if name and port.isdigit() else host).lower() in self._hosts


def _is_by_proxy(scope: Scope, headers: Headers) -> bool:
    return scope["http_version"] == "1.0" or any(name in headers for name in _BY_PROXY)


async def _body(headers: Headers, receive: Receive) -> list[Message] | None:
    """Return the messages with the request's body, None if it is too large."""
    length = headers.get("content-length")
    if length is None and "transfer-encoding" not in headers:
        return []  # none is coming
    if length is not None and (not length.isdigit() or int(length) > MAX_BODY_BYTES):
        return None
    size = 0
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Return what gives `messages` first, and then what is received."""
    waiting: Any = iter(messages)

    async def receive_again() -> Message:
        for message in waiting:
            return message  # type: ignore[no-any-return]
        return await receive()

    return receive_again
