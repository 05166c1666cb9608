"""A real HTTP server on a free local port; tests define its responses and failures."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """A received request. Only the last value of a repeated query parameter is kept; header names
    are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """A response. `cut` closes the connection in the middle of the body, `silent` sends nothing,
    and `stuck` stops sending after the first half of the body."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False
    stuck: bool = False

    @property
    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Api:
    """The server. `requests` lists the requests received so far; `respond` builds each response."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.respond: Callable[[Request], Reply | Any] = lambda _: {"data": []}
        self.reached = threading.Event()
        self.disconnected = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def reply_with(self, *replies: Any) -> None:
        """Respond with each of `replies` in turn, and then keep repeating the last one."""
        rest = list(replies)
        self.respond = lambda _: rest.pop(0) if len(rest) > 1 else rest[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(TIMEOUT_SECONDS)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api._serve(self)

            do_POST = do_GET  # noqa: N815  name required by the standard library

            def log_message(self, format: str, *args: Any) -> None: ...

        return Handler

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        received = Request(request.command, parts.path, query, headers, body)
        self.requests.append(received)
        response = self.respond(received)
        self._send(request, response if isinstance(response, Reply) else Reply(response))

    def _send(self, request: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.silent:
            self._wait(request)
            return
        body = reply.bytes
        request.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in (headers | reply.headers).items():
            request.send_header(name, value)
        request.end_headers()
        half = body[: len(body) // 2] if reply.cut or reply.stuck else body
        request.wfile.write(half)
        request.wfile.flush()
        if reply.stuck:
            self._wait(request)
        request.close_connection = reply.cut or request.close_connection

    def _wait(self, request: BaseHTTPRequestHandler) -> None:
        """Wait until the client disconnects."""
        self.reached.set()
        request.connection.settimeout(TIMEOUT_SECONDS)
        with suppress(OSError):
            if request.rfile.read(1) == b"":
                self.disconnected.set()
        request.close_connection = True


def keys(api: Api, **more: Any) -> dict[str, Any]:
    """Return the keys of a source that reads from `api`; `more` adds or overrides keys."""
    defaults: dict[str, Any] = {
        "type": "rest",
        "base_url": api.url,
        "path": "orders",
        "paginator": {"type": "single_page"},
        "records": "$.data",
        "columns": {"id": "bigint", "note": "text"},
    }
    return defaults | more


@contextmanager
def running() -> Iterator[Api]:
    api = Api()
    try:
        yield api
    finally:
        api.close()


def rows(*ids: int) -> list[dict[str, Any]]:
    return [{"id": number, "note": f"row {number}"} for number in ids]
