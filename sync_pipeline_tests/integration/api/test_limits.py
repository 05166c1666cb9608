"""A client that sends too much, or too slowly, is rejected and disconnected."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from sync_pipeline.api import middleware, protocol
from sync_pipeline.api.middleware import RequestGuard
from sync_pipeline.api.protocol import MAX_HEADER_BYTES, LimitedProtocol
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
SECONDS = 0.5


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server with short time limits."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", SECONDS)
    monkeypatch.setattr(middleware, "BODY_SECONDS", SECONDS)
    config = uvicorn.Config(
        RequestGuard(hello, None, local_only=False),
        http=LimitedProtocol,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ws="none",
        lifespan="off",
        log_level="critical",
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=[[listening]])
        thread.start()
        wait_until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def client(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        yield opened


def answer(client: socket.socket) -> bytes:
    """Return everything that the server sends until it closes the connection."""
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received


def code_of(received: bytes) -> tuple[bytes, str]:
    """Return a response's status and its problem code."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return head.split()[1], json.loads(body)["code"]


def test_large_headers_are_rejected_before_they_end(client: socket.socket) -> None:
    client.sendall(REQUEST + b"X-Large: " + b"x" * (MAX_HEADER_BYTES + 1))
    assert code_of(answer(client)) == (b"431", "headers_too_large")


def test_many_small_headers_are_rejected_too(client: socket.socket) -> None:
    client.sendall(REQUEST + b"X-Small: x\r\n" * 2000)
    assert code_of(answer(client)) == (b"431", "headers_too_large")


def test_headers_that_do_not_end_in_time_are_rejected(client: socket.socket) -> None:
    client.sendall(REQUEST)
    assert code_of(answer(client)) == (b"408", "request_timeout")


def test_each_byte_does_not_extend_the_time(client: socket.socket) -> None:
    client.settimeout(SECONDS / 5)
    client.sendall(REQUEST + b"X-Slow: ")
    received = b""
    for _ in range(20):
        try:
            received += client.recv(65536)
            break
        except TimeoutError:
            client.sendall(b"x")
    assert received.startswith(b"HTTP/1.1 408 ")


def test_the_limit_applies_to_each_request_of_a_connection(client: socket.socket) -> None:
    client.sendall(REQUEST + b"\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    client.sendall(REQUEST)
    assert b"HTTP/1.1 408 " in answer(client)


def test_a_body_that_does_not_end_in_time_is_rejected(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    assert client.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_a_request_is_closed_silently(client: socket.socket) -> None:
    assert answer(client) == b""


def test_what_is_not_http_is_rejected(client: socket.socket) -> None:
    client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
    assert code_of(answer(client)) == (b"400", "malformed_request")


def test_a_complete_request_is_answered(client: socket.socket) -> None:
    client.sendall(REQUEST + b"X-Large: " + b"x" * 10_000 + b"\r\nConnection: close\r\n\r\n")
    received = answer(client)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"hello" in received
