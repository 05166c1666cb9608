"""The event stream: each change is sent within a second, and no change is lost to a failure."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg2
import pytest

from sync_pipeline.tracking.read import history
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, Client, Events
from sync_pipeline_tests.integration.api.conftest import server_on
from sync_pipeline_tests.integration.other_server import OtherServer
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

_INSERT = """INSERT INTO daily_sync_status (sync_date, status, dataset, remarks)
    VALUES (%s, 'syncing', 'orders', %s) RETURNING id"""
_SET_REMARKS = "UPDATE daily_sync_status SET remarks = %s WHERE id = %s"


@pytest.fixture
def database(module_database: str) -> Iterator["Connection"]:
    """A connection (without autocommit) to the server's database, whose tables are empty."""
    helpers.clear(module_database)
    with closing(psycopg2.connect(module_database)) as opened:
        yield opened


def insert(connection: "Connection", day: str = "2025-01-01", remarks: str = "new") -> int:
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [day, remarks])
        (record_id,) = cursor.fetchone() or ()
    return int(record_id)


def set_remarks(connection: "Connection", record_id: int, text: str) -> None:
    helpers.execute(connection, _SET_REMARKS, [text, record_id])


def test_all_streams_receive_the_changed_record_within_a_second(
    alone: Client, database: "Connection"
) -> None:
    with alone.events() as one, alone.events() as other:
        record_id = insert(database)
        began = time.monotonic()
        database.commit()
        for events in (one, other):
            received = events.wait(lambda r: r["id"] == record_id)
            assert time.monotonic() - began < 1
            assert received == alone.record(record_id)
        assert one.all[-1].id == received["change"]


def test_rolled_back_changes_are_not_sent(alone: Client, database: "Connection") -> None:
    with alone.events() as events:
        insert(database)
        database.rollback()
        kept = insert(database)
        database.commit()
        events.wait(lambda r: r["id"] == kept)
        assert [record["id"] for record in events.records()] == [kept]


@pytest.mark.parametrize("by_header", [False, True])
def test_a_client_that_reconnects_first_receives_the_missed_changes(
    alone: Client, database: "Connection", by_header: bool
) -> None:
    with alone.events() as events:
        first = insert(database)
        database.commit()
        seen = events.wait(lambda r: r["id"] == first)["change"]
    second = insert(database, "2025-01-02")
    set_remarks(database, first, "changed")
    database.commit()
    position = {"last": seen, "after": 0} if by_header else {"after": seen}
    with alone.events(**position) as events:
        events.wait(lambda r: r["id"] == second)
        assert events.wait(lambda r: r["id"] == first)["remarks"] == "changed"


def test_a_change_that_is_committed_after_a_later_one_is_not_lost(
    alone: Client, module_database: str, database: "Connection"
) -> None:
    slow = insert(database)  # gets its change number now, but commits last
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


def test_a_client_that_missed_too_many_changes_receives_a_reset(
    alone: Client, database: "Connection"
) -> None:
    helpers.execute(
        database,
        "INSERT INTO daily_sync_status (sync_date, status, dataset)"
        " SELECT '2001-01-01'::date + n, 'syncing', 'many' FROM generate_series(0, 2500) AS n",
    )
    database.commit()
    with alone.events(after=0) as events:
        wait_until(lambda: events.all)
        reset = events.all[0]  # changes that the server is still receiving may follow it
        assert (reset.name, reset.id) == ("reset", reset.data["change"])
        record_id = insert(database)
        database.commit()
        received = events.wait(lambda r: r["id"] == record_id)
        assert received["change"] > reset.data["change"]


def test_a_client_that_does_not_read_is_reset_without_delaying_others(
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


def test_changes_during_a_lost_connection_are_sent_after_reconnecting(
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
        set_remarks(database, record_id, "during the outage")
        database.commit()
        events.wait(lambda r: r["remarks"] == "during the outage")
    assert alone.record(record_id)["remarks"] == "during the outage"


def test_a_stream_starts_with_a_ping_and_repeats_it(alone: Client, database: "Connection") -> None:
    with alone.events() as events:
        assert events.live == [True]
        wait_until(lambda: len(events.live) > 1, 17)
        assert events.live == [True, True]


def test_streams_are_reset_after_the_database_is_restored(
    alone: Client, module_database: str, database: "Connection"
) -> None:
    record_id = insert(database)
    database.commit()
    seen = alone.record(record_id)["change"]
    with alone.events(after=seen) as events:
        helpers.execute(database, "DELETE FROM daily_sync_status")
        database.commit()
        helpers.execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
            " application_name = 'sync_pipeline: api, events' AND datname = current_database()",
        )
        database.commit()
        wait_until(lambda: [event.data for event in events.all if event.name == "reset"])
        assert events.all[-1].data["change"] < seen
    with alone.events(after=seen) as events:
        wait_until(lambda: events.all)
        assert (events.all[0].name, events.all[0].data["change"]) == ("reset", 0)


def test_reconnecting_uses_indexes_regardless_of_the_number_of_records(
    module_database: str, database: "Connection"
) -> None:
    helpers.execute(
        database,
        "INSERT INTO daily_sync_status (sync_date, status, dataset)"
        " SELECT '1900-01-01'::date + n, 'syncing', 'many' FROM generate_series(0, 20000) AS n",
    )
    helpers.execute(database, "ANALYZE daily_sync_status")
    database.commit()
    an_hour_ago = "SELECT clock_timestamp() - interval '1 hour'"
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE daily_sync_status DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE daily_sync_status SET updated_at = ({an_hour_ago})")
        cursor.execute("ALTER TABLE daily_sync_status ENABLE TRIGGER USER")
    late = insert(database, "2025-01-01")
    seen = insert(database, "2025-01-02")
    insert(database, "2025-01-03")
    database.commit()
    with database.cursor() as cursor:
        (record,) = history.records(cursor, [seen])
        for name in ("changed_after", "changed_late"):
            values = {"after": record.change, "seconds": 30, "limit": 2001}
            statement = history.query(history._SQL[name])
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
            (plan,) = cursor.fetchone()[0]  # type: ignore[index]
            assert "Seq Scan" not in str(plan)
            assert "'Rows Removed by Filter': 20" not in str(plan)
        found = history.changed_after(cursor, record.change, 2001)
    assert late in {one.id for one in found}
    assert len(found) == 3


def receives_change(events: Events, database: "Connection", record_id: int) -> bool:
    """Change a record; return whether any change has been received from the stream so far."""
    set_remarks(database, record_id, "changed")
    database.commit()
    return bool(events.records())


def test_streams_survive_a_database_restart(server: OtherServer, tmp_path: Path) -> None:
    from sync_pipeline.database.migrate import migrate

    migrate(server.url, "SYNC_DATABASE_URL")
    with server_on(server.url, tmp_path) as client, client.events() as events:
        with closing(psycopg2.connect(server.url)) as connection:
            record_id = insert(connection)
            # The listener may miss changes until it is connected.
            wait_until(lambda: receives_change(events, connection, record_id))
        assert events.live[-1]
        server.stop()
        wait_until(lambda: not events.live[-1])
        assert client.get("/readyz").status == 503
        assert client.get(f"{BASE}/sync-status/list").problem["status"] == 503
        refused = client.get(f"{BASE}/events")
        assert (refused.problem["status"], refused.headers["retry-after"]) == (503, "5")
        server.start()
        with closing(psycopg2.connect(server.url)) as connection:
            set_remarks(connection, record_id, "after the restart")
            connection.commit()
        events.wait(lambda r: r["remarks"] == "after the restart", 30)
        wait_until(lambda: events.live[-1])
        assert not events.ended.is_set()
        assert wait_until(lambda: client.get("/readyz").status == 200)


def test_stopping_the_server_ends_its_streams_immediately(
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
