"""HTTP/1.1 with limits on the size of a request's headers and on the time they take to arrive.

uvicorn's default protocol has no such limits. Without them, clients could use up the server's
memory or its sockets before a token is checked. Does not limit bodies: see `middleware.py`.
"""

import asyncio
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sync_pipeline.api.problems import ProblemError, problem_response, too_late

MAX_HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10.0


class LimitedProtocol(H11Protocol):
    """A connection that rejects headers larger than `MAX_HEADER_BYTES` (431), or not received
    within `HEADER_SECONDS` (408). A connection without any request is closed after that time."""

    _deadline: asyncio.TimerHandle | None = None
    _is_new = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._on_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_new = False
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._clear_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._on_deadline)

    def send_400_response(self, msg: str) -> None:
        """Reject the request for the reason in the error that is being handled."""
        error = sys.exc_info()[1]
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self._reject(
                ProblemError(
                    431,
                    "headers_too_large",
                    f"the request headers are larger than {MAX_HEADER_BYTES} bytes",
                    max=MAX_HEADER_BYTES,
                )
            )
        else:
            self._reject(ProblemError(400, "malformed_request", "this is not a valid HTTP request"))

    def _on_deadline(self) -> None:
        self._deadline = None
        if self._is_new:  # browsers open connections before they need them
            self.transport.close()
        else:
            self._reject(too_late())

    def _reject(self, problem: ProblemError) -> None:
        """Send a response and close the connection."""
        self._clear_deadline()
        response = problem_response(problem)
        start = h11.Response(
            status_code=problem.status,
            headers=[*response.raw_headers, (b"connection", b"close")],
            reason=HTTPStatus(problem.status).phrase.encode(),
        )
        for event in (start, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
