"""The live stream: every change within a second, to everybody, and none lost over what breaks."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg2
import pytest

from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, Client, Events
from sync_pipeline_tests.integration.api.conftest import server_on
from sync_pipeline_tests.integration.other_server import OtherServer

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

_INSERT = """INSERT INTO daily_sync_status (sync_date, status, dataset, remarks)
    VALUES (%s, 'syncing', 'orders', %s) RETURNING id"""
_REMARK = "UPDATE daily_sync_status SET remarks = %s WHERE id = %s"


@pytest.fixture
def database(module_database: str) -> Iterator["Connection"]:
    """A connection to the server's database, whose tables are empty; it commits when told."""
    helpers.clear(module_database)
    with closing(psycopg2.connect(module_database)) as opened:
        yield opened


def insert(connection: "Connection", day: str = "2025-01-01", remarks: str = "new") -> int:
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [day, remarks])
        (record_id,) = cursor.fetchone() or ()
    return int(record_id)


def remark(connection: "Connection", record_id: int, text: str) -> None:
    helpers.execute(connection, _REMARK, [text, record_id])


def test_a_change_is_heard_by_everybody_within_a_second_with_the_whole_record(
    alone: Client, database: "Connection"
) -> None:
    with alone.events() as one, alone.events() as other:
        record_id = insert(database)
        began = time.monotonic()
        database.commit()
        for events in (one, other):
            heard = events.wait(lambda r: r["id"] == record_id)
            assert time.monotonic() - began < 1
            assert heard == alone.record(record_id)
        assert one.all[-1].id == heard["change"]


def test_what_is_rolled_back_is_not_heard(alone: Client, database: "Connection") -> None:
    with alone.events() as events:
        insert(database)
        database.rollback()
        kept = insert(database)
        database.commit()
        events.wait(lambda r: r["id"] == kept)
        assert [record["id"] for record in events.records()] == [kept]


@pytest.mark.parametrize("by_header", [False, True])
def test_who_comes_back_gets_what_changed_meanwhile_first(
    alone: Client, database: "Connection", by_header: bool
) -> None:
    with alone.events() as events:
        first = insert(database)
        database.commit()
        seen = events.wait(lambda r: r["id"] == first)["change"]
    second = insert(database, "2025-01-02")
    remark(database, first, "changed")
    database.commit()
    again = {"last": seen, "after": 0} if by_header else {"after": seen}
    with alone.events(**again) as events:
        events.wait(lambda r: r["id"] == second)
        assert events.wait(lambda r: r["id"] == first)["remarks"] == "changed"


def test_a_change_that_becomes_visible_after_a_later_one_is_not_lost(
    alone: Client, module_database: str, database: "Connection"
) -> None:
    slow = insert(database)  # takes its number now, and is committed last
    with closing(psycopg2.connect(module_database)) as quick:
        with alone.events() as events:
            record_id = insert(quick, "2025-01-02")
            quick.commit()
            seen = events.wait(lambda r: r["id"] == record_id)["change"]
        with alone.events() as witness:
            database.commit()
            assert witness.wait(lambda r: r["id"] == slow)["change"] < seen
        with alone.events(after=seen) as events:
            events.wait(lambda r: r["id"] == slow)


def test_who_missed_too_much_is_told_to_begin_anew(alone: Client, database: "Connection") -> None:
    helpers.execute(
        database,
        "INSERT INTO daily_sync_status (sync_date, status, dataset)"
        " SELECT '2001-01-01'::date + n, 'syncing', 'many' FROM generate_series(0, 2500) AS n",
    )
    database.commit()
    with alone.events(after=0) as events:
        wait_until(lambda: events.all)
        (reset,) = events.all
        assert (reset.name, reset.id) == ("reset", reset.data["change"])
        record_id = insert(database)
        database.commit()
        heard = events.wait(lambda r: r["id"] == record_id)
        assert heard["change"] > reset.data["change"]


def test_a_client_that_does_not_read_holds_up_nobody_and_is_told_to_begin_anew(
    alone: Client, database: "Connection"
) -> None:
    where = urlsplit(alone.url)
    with socket.socket() as slow, alone.events() as events:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((where.hostname or "", where.port or 0))
        slow.sendall(f"GET {BASE}/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        record_id = insert(database)
        database.commit()
        deadline = time.monotonic() + 60
        slow.settimeout(0)
        for number in range(70):
            assert time.monotonic() < deadline
            helpers.execute(
                database,
                "UPDATE daily_sync_status SET error_message = repeat('x', 200000),"
                " remarks = %s WHERE id = %s",
                [str(number), record_id],
            )
            began = time.monotonic()
            database.commit()
            events.wait(lambda r, n=number: r["remarks"] == str(n))  # type: ignore[misc]
            assert time.monotonic() - began < 2
        slow.settimeout(5)
        received = b""
        while b"event: reset" not in received:
            received = received[-20:] + slow.recv(1 << 20)


def test_changes_made_while_the_database_was_away_from_the_server_are_heard_when_it_is_back(
    alone: Client, module_database: str, database: "Connection"
) -> None:
    with alone.events() as events, closing(psycopg2.connect(module_database)) as other:
        record_id = insert(database)
        database.commit()
        events.wait(lambda r: r["id"] == record_id)
        helpers.execute(
            other,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
            " application_name = 'sync_pipeline: api, events' AND datname = current_database()",
        )
        other.commit()
        remark(database, record_id, "while nobody listened")
        database.commit()
        events.wait(lambda r: r["remarks"] == "while nobody listened")
    assert alone.record(record_id)["remarks"] == "while nobody listened"


def hears(events: Events, database: "Connection", record_id: int) -> bool:
    """Change a record; return whether the stream brought any change so far."""
    remark(database, record_id, "heard?")
    database.commit()
    return bool(events.records())


def test_streams_outlive_a_database_that_is_restarted(server: OtherServer, tmp_path: Path) -> None:
    from sync_pipeline.database.migrate import migrate

    migrate(server.url, "SYNC_DATABASE_URL")
    with server_on(server.url, tmp_path) as client, client.events() as events:
        with closing(psycopg2.connect(server.url)) as connection:
            record_id = insert(connection)
            # The first changes may come before anybody listens.
            wait_until(lambda: hears(events, connection, record_id))
        server.stop()
        assert client.get("/readyz").status == 503
        assert client.get(f"{BASE}/sync-status/list").problem["status"] == 503
        server.start()
        with closing(psycopg2.connect(server.url)) as connection:
            remark(connection, record_id, "after the restart")
            connection.commit()
        events.wait(lambda r: r["remarks"] == "after the restart", 30)
        assert not events.ended.is_set()
        assert client.get("/readyz").status == 200


def test_a_server_that_is_told_to_stop_ends_its_streams_at_once(
    module_database: str, tmp_path: Path
) -> None:
    with server_on(module_database, tmp_path) as client, client.events() as events:
        pass
    with server_on(module_database, tmp_path) as client:
        stream = client.events()
        events = stream.__enter__()
        began = time.monotonic()
    assert time.monotonic() - began < 4
    assert events.ended.wait(5)
    stream.__exit__(None, None, None)
