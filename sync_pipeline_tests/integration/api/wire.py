"""A TCP proxy between the API and Dagster that can fail in several ways."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Wire:
    """Accepts connections at `url` and forwards them.

    With `cut`, new connections are closed. With `hangs`, they are accepted but get no response;
    `waiting` is the number of such connections. Requests that contain the bytes in `drops` are
    dropped; with `drops_response`, they are forwarded and only their responses are dropped.
    """

    def __init__(self, to: str) -> None:
        self._to = (urlsplit(to).hostname or "", urlsplit(to).port or 0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cut = False
        self.hangs = False
        self.drops: bytes | None = None
        self.drops_response = False
        self._hanging: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                if self.cut:
                    client.close()
                    continue
                if self.hangs:
                    self._hanging.append(client)
                    continue
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._to) as server:
            request = _read_request(client)
            is_dropped = self.drops is not None and self.drops in request
            if is_dropped and not self.drops_response:
                return
            server.sendall(request)
            if is_dropped:
                server.recv(65536)
                return
            there = threading.Thread(target=_pump, args=(client, server), daemon=True)
            there.start()
            _pump(server, client)
            there.join()

    @property
    def waiting(self) -> int:
        return len(self._hanging)

    def close(self) -> None:
        for client in self._hanging:
            client.close()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def _read_request(client: socket.socket) -> bytes:
    """Read and return a complete HTTP request."""
    request = b""
    while True:
        more = client.recv(65536)
        request += more
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not more or (b"\r\n\r\n" in request and len(body) >= int(length[1] if length else 0)):
            return request


def _pump(a: socket.socket, b: socket.socket) -> None:
    with suppress(OSError):
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)


@contextmanager
def wire(to: str) -> Iterator[Wire]:
    """During the block, run a proxy that forwards to the URL `to`."""
    made = Wire(to)
    try:
        yield made
    finally:
        made.close()
