"""A wire between the API and Dagster that can be cut, or clogged, and mended."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Wire:
    """Forwards what comes to `url` as long as it is not cut. While it is clogged, whoever comes is
    let in, and never hears anything; `waiting` is how many do. It `loses` requests with that in
    them, or `only_answers` to them."""

    def __init__(self, to: str) -> None:
        self._to = (urlsplit(to).hostname or "", urlsplit(to).port or 0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cut = False
        self.clogged = False
        self.loses: bytes | None = None
        self.only_answers = False
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                if self.cut:
                    near.close()
                    continue
                if self.clogged:
                    self._held.append(near)
                    continue
                threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._to) as far:
            asked = _request(near)
            is_lost = self.loses is not None and self.loses in asked
            if is_lost and not self.only_answers:
                return
            far.sendall(asked)
            if is_lost:
                far.recv(65536)
                return
            there = threading.Thread(target=_pump, args=(near, far), daemon=True)
            there.start()
            _pump(far, near)
            there.join()

    @property
    def waiting(self) -> int:
        return len(self._held)

    def close(self) -> None:
        for near in self._held:
            near.close()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def _request(near: socket.socket) -> bytes:
    """Return a request, whole."""
    asked = b""
    while True:
        more = near.recv(65536)
        asked += more
        head, _, body = asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not more or (b"\r\n\r\n" in asked and len(body) >= int(length[1] if length else 0)):
            return asked


def _pump(a: socket.socket, b: socket.socket) -> None:
    with suppress(OSError):
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)


@contextmanager
def wire(to: str) -> Iterator[Wire]:
    """A wire to `to` for as long as the block lasts."""
    made = Wire(to)
    try:
        yield made
    finally:
        made.close()
