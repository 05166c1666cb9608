"""The limits and lifetime of event streams, and the reliability of the listener."""

import os
import queue
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from sync_pipeline.api.config import Config
from sync_pipeline.api.links import Links
from sync_pipeline.api.live.listener import Listener
from sync_pipeline.api.security.tokens import SESSION_SECONDS, Authority, parse_tokens
from sync_pipeline.tracking.read import history
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, LIST, Client
from sync_pipeline_tests.integration.api.conftest import TOKENS, UNREACHABLE, entries, server_on

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SECRET = "s" * 32
INSERT = "INSERT INTO daily_sync_status (sync_date, status) VALUES (%s, 'syncing')"


@pytest.fixture(scope="module")
def protected(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that requires tokens; the client sends no token."""
    others = {"SYNC_API_TOKENS": entries(), "SYNC_API_SECRET": SECRET}
    with server_on(module_database, tmp_path_factory.mktemp("protected"), **others) as client:
        yield client


def signed_in(client: Client) -> Client:
    response = client.post(f"{BASE}/session", {"token": TOKENS["reader"]})
    cookie = response.headers["set-cookie"].split(";")[0]
    return client.with_headers(Cookie=cookie)


def test_signing_out_ends_the_session_and_its_streams(protected: Client) -> None:
    page, other = signed_in(protected), signed_in(protected)
    with page.events() as ended, other.events() as stays:
        assert page.send("DELETE", f"{BASE}/session").status == 204
        assert ended.ended.wait(5)
        assert not stays.ended.is_set()
    assert page.get(LIST).problem["status"] == 401
    assert other.get(LIST).status == 200


def test_a_stream_ends_with_its_session(protected: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(parse_tokens(entries()), SECRET.encode())
    caller = authority.by_token(TOKENS["reader"])
    assert caller is not None
    almost_over = time.time() - SESSION_SECONDS + 3
    with monkeypatch.context() as earlier:
        earlier.setattr(time, "time", lambda: almost_over)
        _, cookie = authority.begin_session(caller)
    page = protected.with_headers(Cookie=f"sync_session={cookie}")
    with page.events() as events:
        assert events.ended.wait(6)
    assert page.get(LIST).problem["status"] == 401


def test_the_number_of_streams_per_token_is_limited(protected: Client) -> None:
    reader = {"Authorization": f"Bearer {TOKENS['reader']}"}
    statuses: list[int] = []
    with ExitStack() as opened:
        while 503 not in statuses and len(statuses) < 250:
            connection = HTTPConnection(urlsplit(protected.url).netloc, timeout=10)
            opened.enter_context(closing(connection))
            connection.request("GET", f"{BASE}/events", headers=reader)
            statuses.append(connection.getresponse().status)
        assert statuses == [200] * 200 + [503]
        operator = protected.with_headers(Authorization=f"Bearer {TOKENS['operator']}")
        with operator.events() as events:
            assert events.live


class ListenerOutput:
    """A listener in this process, and the output that it publishes."""

    def __init__(self, url: str) -> None:
        self.chunks: queue.Queue[bytes | None] = queue.Queue()
        self.states: queue.Queue[bool] = queue.Queue()
        config = Config(url, "SYNC_DATABASE_URL")
        self.listener = Listener(config, Links(UNREACHABLE), self.chunks.put, self.states.put)


@contextmanager
def listening(url: str) -> Iterator[ListenerOutput]:
    received = ListenerOutput(url)
    received.listener.start()
    try:
        yield received
    finally:
        received.listener.stop()


@contextmanager
def many_files() -> Iterator[None]:
    """During the block, keep more files open than select() supports."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        yield
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_listener_works_with_more_open_files_than_select_supports(
    module_database: str,
) -> None:
    helpers.clear(module_database)
    with (
        closing(psycopg2.connect(module_database)) as connection,
        many_files(),
        listening(module_database) as received,
    ):
        assert received.states.get(timeout=10)
        assert received.chunks.get(timeout=10) is None
        helpers.execute(connection, INSERT, ["2025-01-01"])
        connection.commit()
        chunk = received.chunks.get(timeout=10)
    assert chunk is not None
    assert b'"sync_date":"2025-01-01"' in chunk


def test_the_listener_reports_an_unexpected_error_and_continues(
    module_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    helpers.clear(module_database)
    with (
        closing(psycopg2.connect(module_database)) as connection,
        listening(module_database) as received,
    ):
        assert received.states.get(timeout=10)
        with monkeypatch.context() as broken:
            broken.setattr(history, "records", lambda cursor, ids: 1 / 0)
            helpers.execute(connection, INSERT, ["2025-01-01"])
            connection.commit()
            assert received.states.get(timeout=10) is False
        assert received.states.get(timeout=10)
        assert received.chunks.get(timeout=10) is None
        chunk = received.chunks.get(timeout=10)
    assert chunk is not None
    assert b'"sync_date":"2025-01-01"' in chunk
