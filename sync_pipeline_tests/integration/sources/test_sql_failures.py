"""MariaDB failures are reported in one line, and transient ones are retried."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from sync_pipeline.errors import SettingError, SourceError, SourceUnreachableError
from sync_pipeline.retry import is_transient
from sync_pipeline.sources.arrow.source import ArrowReader
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sources.sql.source import SqlRows
from sync_pipeline.sync.days import Outcome
from sync_pipeline.targets.pipe import Pipe
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing
from sync_pipeline_tests.integration.sources.mariadb import MariaDb
from sync_pipeline_tests.integration.sources.test_sql import SOURCE, TABLE, call_after, open_rows
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

# Too many rows for a socket buffer: the server is still sending when the first rows arrive.
MANY_ROWS = "INSERT INTO t SELECT seq, '2025-10-01', REPEAT('x', 1000) FROM seq_1_to_20000"
# The server does not notice if the client disconnects during this query.
SLOW_SOURCE = SOURCE | {
    "query": "SELECT day, BENCHMARK(1000000000000, MD5(day)) AS s FROM t",
    "count": False,
    "connect_timeout_seconds": 2,
}


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_day_is_rolled_back_and_retried_if_its_connection_is_killed(
    mariadb: MariaDb, syncing: Syncing, max_attempts: int
) -> None:
    mariadb.run(
        "CREATE TABLE t (id int, day date, note text)",
        "INSERT INTO t VALUES (0, '2025-10-01', 'old')",
    )
    syncing.sync(TABLE)
    mariadb.run("DELETE FROM t", MANY_ROWS)

    def kill() -> None:
        (thread,) = mariadb.reader_threads()
        mariadb.run(f"KILL {thread}")

    with call_after("SELECT id,", kill):
        (done,) = syncing.sync(
            TABLE, retry={"max_attempts": max_attempts, "initial_backoff_seconds": 0.01}
        )
    states = [state for (state,) in syncing.rows("SELECT state FROM sync_attempt ORDER BY id")]
    if max_attempts == 1:
        assert "cannot read 2025-10-01 from t: OperationalError: (2013, 'Lost" in (done.error or "")
        assert syncing.rows("SELECT note FROM landed") == [("old",)]
        assert states == ["success", "failed"]
    else:
        assert done.outcome is Outcome.SUCCESS
        assert syncing.rows("SELECT count(*) FROM landed") == [(20_000,)]
        assert states == ["success", "failed", "success"]


def test_a_lock_timeout_is_transient(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run("CREATE TABLE t (id int, day date)")
    rows = open_rows(syncing, TABLE | {"lock_timeout_seconds": 1})
    with sa.create_engine(mariadb.url, poolclass=sa.NullPool).connect() as other:
        other.exec_driver_sql("LOCK TABLES t WRITE")
        with pytest.raises(SourceError, match="Lock wait timeout exceeded") as caught:
            list(rows.read(DAY))
        assert is_transient(caught.value)
        other.exec_driver_sql("UNLOCK TABLES")
    assert list(rows.read(DAY)) == []
    rows.close()


def start_slow_read(
    syncing: Syncing, **keys: Any
) -> tuple[ArrowReader, threading.Thread, list[Exception]]:
    """Start a read that waits for the server; return the reader, its thread, its error list."""
    dataset = syncing.dataset(SLOW_SOURCE | keys)
    source: Any = dataset.source
    reader = ArrowReader(dataset, SqlRows(dataset, source, syncing.settings["SHOP_URL"]))
    raised: list[Exception] = []

    def read() -> None:
        try:
            reader.read_day(DAY, Pipe().writer(), CopyFormat.TEXT)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return reader, thread, raised


def wait_for_reader(mariadb: MariaDb) -> int:
    """Wait until the server is running the reader's query; return the server thread's ID."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = mariadb.reader_threads()
        return bool(found)

    wait_until(is_there)
    return found[0]


def test_cancelling_a_waiting_read_also_ends_its_query(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run("CREATE TABLE t (day date)", "INSERT INTO t VALUES ('2025-10-01')")
    reader, thread, raised = start_slow_read(syncing)
    wait_for_reader(mariadb)
    reader.cancel()
    thread.join(helpers.TIMEOUT_SECONDS)
    assert not thread.is_alive()
    assert isinstance(raised[0], SourceError)
    wait_until(lambda: not mariadb.reader_threads())
    reader.close()


def test_a_read_ends_when_cancelled_even_if_the_server_hangs(
    mariadb: MariaDb, syncing: Syncing
) -> None:
    mariadb.run("CREATE TABLE t (day date)", "INSERT INTO t VALUES ('2025-10-01')")
    reader, thread, raised = start_slow_read(syncing)
    left = wait_for_reader(mariadb)
    mariadb.process.suspend()
    try:
        reader.cancel()
        thread.join(helpers.TIMEOUT_SECONDS)
        assert not thread.is_alive()
        assert isinstance(raised[0], SourceError)
        reader.close()
    finally:
        mariadb.process.resume()
    mariadb.run(f"KILL {left}")


def test_a_day_that_exceeds_the_statement_timeout_is_cancelled(
    mariadb: MariaDb, syncing: Syncing
) -> None:
    mariadb.run("CREATE TABLE t (day date)", "INSERT INTO t VALUES ('2025-10-01')")
    (done,) = syncing.sync(
        SLOW_SOURCE | {"statement_timeout_seconds": 0.5}, retry={"max_attempts": 5}
    )
    assert "took longer than 0.5 seconds; increase 'statement" in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM sync_attempt") == [(1,)]
    wait_until(lambda: not mariadb.reader_threads())


def test_a_failed_day_does_not_affect_the_next_one(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run("CREATE TABLE t (id int, day date, note text)", MANY_ROWS)
    rows = open_rows(syncing, TABLE)
    reads = rows.read(DAY)
    next(reads)
    reads.close()  # as happens after a target error
    assert sum(batch.num_rows for batch in rows.read(DAY)) == 20_000
    rows.close()


@pytest.mark.parametrize(
    ("user", "transient", "message"),
    [
        ("root:wrong@localhost", False, "cannot connect to the database in SHOP_URL.*1045"),
        ("root:s3cret@127.0.0.1:1", True, "cannot connect to the database in SHOP_URL.*2003"),
        ("root:s3cret@localhost", False, "Unknown database"),
    ],
)
def test_a_connection_error_does_not_show_the_password(
    mariadb: MariaDb, syncing: Syncing, user: str, transient: bool, message: str
) -> None:
    mariadb.run("CREATE OR REPLACE USER guest@localhost IDENTIFIED BY 's3cret'")
    name = user.replace("root", "guest")
    url = f"mysql+pymysql://{name}/nowhere"
    if "localhost" in user:
        url = f"{url}?unix_socket={mariadb.socket}"
    if "Unknown" in message:
        mariadb.run("GRANT SELECT ON *.* TO guest@localhost")
    syncing.settings["SHOP_URL"] = url
    with pytest.raises(SourceUnreachableError, match=message) as caught:
        open_rows(syncing, TABLE)
    assert is_transient(caught.value) is transient
    assert "s3cret" not in str(caught.value)
    mariadb.run("DROP USER guest@localhost")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"table": "none"}, "table none not found in the source; check 'table'"),
        ({"query": "SELECT * FROM none"}, "cannot read the query: .*doesn't exist"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "Duplicate column name 'a'"),
        ({"table": "t", "columns": ["day", "no"]}, "t has no column 'no'; correct 'columns'"),
        ({"table": "t", "types": {"no": "text"}}, "t has no column 'no'; correct 'types'"),
        ({"table": "t", "day_column": "id"}, "day_column 'id' of t is of type integer"),
        ({"table": "t"}, "these columns of t have unknown types: place; declare each"),
        ({"query": "SELECT * FROM t"}, "these columns of query have unknown types: place"),
    ],
    ids=str,
)
def test_a_mistake_in_a_dataset_is_reported_and_not_transient(
    mariadb: MariaDb, syncing: Syncing, keys: dict[str, Any], message: str
) -> None:
    mariadb.run("CREATE TABLE t (id int, day date, place point)")
    with pytest.raises(SourceError, match=f"dataset landed: .*{message}") as caught:
        syncing.sync(SOURCE | keys | ({"columns": ["id"]} if "id" in keys.values() else {}))
    assert not is_transient(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:s3cret@h/d", r"SHOP_URL must begin with mysql\+pymysql://"),
        (
            "clickhouse://u:s3cret@h/d",
            "SHOP_URL needs a driver .*run: pip install clickhouse-sqlalchemy",
        ),
        ("oracle+oracledb://u:s3cret@h/d", "run: pip install oracledb"),
        ("mssql+pyodbc://u:s3cret@h/d", "run: pip install pyodbc"),
        ("mysql+pymysql://u:half@s3cret#3@127.0.0.1:9/d", "'@'.* must be percent-encoded"),
        ("mysql+pymysql://u:half@s3cret/3@127.0.0.1:9/d", "'@'.* must be percent-encoded"),
        ("mysql+pymysql://u:half@s3cret?3@127.0.0.1:9/d", "'@'.* must be percent-encoded"),
        ("mysql+pymysql://h:9/d?user=u&password=half@s3cret", "'@'.* must be percent-encoded"),
        (
            "mysqll://u:s3cret@h/d",
            "SHOP_URL begins with mysqll://, which is unknown to SQLAlchemy; c",
        ),
        ("s3cret", "SHOP_URL is not a SQLAlchemy URL, such as mysql"),
        ("", "SHOP_URL is not set; set it to a SQLAlchemy URL"),
    ],
)
def test_the_error_for_an_invalid_url_says_what_to_do(
    syncing: Syncing, url: str, message: str
) -> None:
    syncing.settings["SHOP_URL"] = url
    with pytest.raises(SettingError, match=message) as caught:
        syncing.sync(TABLE)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("foo=1", "unexpected keyword argument 'foo'; correct its options: foo"),
        ("ssl_mode=REQUIRED&charset=x", "'ssl_mode'; correct its options: ssl_mode, charset"),
        ("max_allowed_packet=1&local_infile=x", "'x'; correct its options: max_allowed_packet, l"),
        ("ssl_ca=/not/there", "No such file or directory; correct its options: ssl_ca"),
    ],
)
def test_an_invalid_driver_option_is_reported_and_not_transient(
    syncing: Syncing, option: str, message: str
) -> None:
    syncing.settings["SHOP_URL"] = f"mysql+pymysql://u:s3cret@127.0.0.1:1/d?{option}"
    pattern = f"^dataset landed: the URL in SHOP_URL cannot be used: .*{message}"
    with pytest.raises((SettingError, SourceUnreachableError), match=pattern) as caught:
        syncing.sync(TABLE)
    assert not is_transient(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_zero_date_is_an_error_or_null_or_text(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run(
        "CREATE TABLE t (day date, a date, b datetime)",
        "INSERT INTO t VALUES ('2025-10-01', '2025-01-31', '2025-01-31 10:00')",
        "INSERT INTO t VALUES ('2025-10-01', '2025-00-31', '0000-00-00')",
    )
    (done,) = syncing.sync(TABLE)
    assert "column 'a' has the value '2025-00-31', which is not a valid date" in (done.error or "")
    assert "set 'zero_dates: as_null'" in (done.error or "")
    syncing.sync(TABLE | {"zero_dates": "as_null"})
    assert syncing.rows("SELECT a::text, b::text FROM landed ORDER BY a NULLS LAST") == [
        ("2025-01-31", "2025-01-31 10:00:00"),
        (None, None),
    ]
    syncing.sync(TABLE | {"types": {"a": "text", "b": "text"}}, target={"table": "texts"})
    assert syncing.rows("SELECT a, b FROM texts ORDER BY a LIMIT 1") == [
        ("2025-00-31", "0000-00-00 00:00:00")
    ]


def test_text_with_a_nul_character_fails_the_day_and_keeps_its_rows(
    mariadb: MariaDb, syncing: Syncing
) -> None:
    mariadb.run("CREATE TABLE t (day date, a text)", "INSERT INTO t VALUES ('2025-10-01', 'old')")
    syncing.sync(TABLE)
    mariadb.run("INSERT INTO t VALUES ('2025-10-01', CONCAT('a', CHAR(0)))")
    (done,) = syncing.sync(TABLE)
    assert "0x00" in (done.error or "")
    assert syncing.rows("SELECT a FROM landed") == [("old",)]
