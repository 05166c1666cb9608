"""An HTTP client for the API that can send arbitrary requests and read event streams."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from sync_pipeline_tests.waiting import TIMEOUT_SECONDS, wait_until

BASE = "/api/v1"
LIST = f"{BASE}/sync-status/list"
LAUNCH = f"{BASE}/sync-status/sync/batch"
PREVIEW = f"{LAUNCH}/preview"


@dataclass(frozen=True)
class Response:
    """An HTTP response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """The data of a successful response."""
        assert self.status < 300, self.body
        assert self.json["status"] == "success"
        return self.json["data"]

    @property
    def problem(self) -> Any:
        """The problem of an error response."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", self.json["code"])
        assert self.json["code"] != "refused"
        assert isinstance(self.json["params"], dict)
        return self.json


@dataclass(frozen=True)
class Client:
    """Calls the API at `url`; `headers` are sent with each request."""

    url: str
    headers: Mapping[str, str] | None = None

    def with_headers(self, **headers: str) -> "Client":
        """Return a client that also sends these headers; underscores in names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Client(self.url, {**(self.headers or {}), **named})

    def get(self, path: str, /, **query: Any) -> Response:
        """Send a GET request for `path`; a parameter name's trailing underscore is removed."""
        sent = {k.rstrip("_"): v for k, v in query.items() if v is not None}
        return self.send("GET", f"{path}?{urlencode(sent, doseq=True)}" if sent else path)

    def post(self, path: str, body: Any = None, **headers: str) -> Response:
        """Send a POST request to `path` with `body` as JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            return self.send("POST", path, headers=named)
        return self.send(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **named}
        )

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, {**(self.headers or {}), **(headers or {})})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, named, response.read())
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Send these bytes, and return all data received until the server closes the connection."""
        where = urlsplit(self.url)
        address = (where.hostname or "", where.port or 0)
        with socket.create_connection(address, timeout=10) as opened:
            opened.sendall(request)
            opened.shutdown(socket.SHUT_WR)
            response = b""
            while more := opened.recv(65536):
                response += more
            return response

    def record(self, record_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"{BASE}/sync-status/{record_id}").data["record"]
        return found

    def wait_for(self, record_id: int, *status: str) -> dict[str, Any]:
        """Wait until the record has one of these statuses, and return the record."""
        found: list[dict[str, Any]] = []

        def has_status() -> bool:
            found.append(self.record(record_id))
            return found[-1]["status"] in status

        wait_until(has_status)
        return found[-1]

    @contextmanager
    def events(self, after: int | None = None, last: int | None = None) -> Iterator["Events"]:
        """Read the event stream during the block."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        query = "" if after is None else f"?after={after}"
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_SECONDS)
        connection.request(
            "GET", f"{BASE}/events{query}", headers={**(self.headers or {}), **headers}
        )
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        events = Events()

        def read() -> None:
            lines: list[str] = []
            try:
                for raw in response:
                    line = raw.decode().rstrip("\n")
                    if line:
                        lines.append(line)
                    else:
                        events.add(lines)
                        lines = []
            except (OSError, ValueError, AttributeError):
                pass  # either side closed the connection
            events.ended.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_until(lambda: events.began)
        try:
            yield events
        finally:
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
            reader.join(TIMEOUT_SECONDS)
            response.close()
            connection.close()


@dataclass(frozen=True)
class Event:
    """A server-sent event with its JSON `data`."""

    name: str
    id: int | None
    data: Any


class Events:
    """The events received so far, except for pings, whose values are in `live`.

    `began` is true once the stream has sent any changes that the client had missed.
    """

    def __init__(self) -> None:
        self.all: list[Event] = []
        self.live: list[bool] = []
        self.last_id: int | None = None
        self.chunks = 0
        self.ended = threading.Event()

    @property
    def began(self) -> bool:
        return bool(self.live) or self.ended.is_set()

    def add(self, lines: list[str]) -> None:
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        if "id" in fields:
            self.last_id = int(fields["id"])
        if fields.get("event") == "ping":
            self.live.append(json.loads(fields["data"])["live"])
        elif "data" in fields:
            found = Event(fields["event"], self.last_id, json.loads(fields["data"]))
            self.all.append(found)
        self.chunks += 1

    def records(self) -> list[dict[str, Any]]:
        return [event.data for event in self.all if event.name == "record"]

    def wait(
        self, matches: Callable[[dict[str, Any]], bool], seconds: float = 10
    ) -> dict[str, Any]:
        """Wait for a record for which `matches` returns True, and return it."""
        return wait_until(lambda: next(filter(matches, self.records()), None), seconds) or {}


def body(days: Sequence[date], **others: str) -> dict[str, str]:
    """Return a request body that launches these days for `orders` or the dataset in `others`."""
    return {"dataset": "orders", "start_date": str(days[0]), "end_date": str(days[-1]), **others}
