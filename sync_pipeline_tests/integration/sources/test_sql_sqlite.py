"""Days are read from SQLite, which does not enforce column types, and from one other dialect."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.errors import SourceError, SourceUnreachableError
from sync_pipeline.retry import is_transient
from sync_pipeline.settings import with_driver
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing
from sync_pipeline_tests.integration.sources.test_sql import SOURCE, TABLE, open_rows

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(tmp_path: Path, syncing: Syncing) -> Iterator[sqlite3.Connection]:
    """Yield a writable connection to the SQLite file that `SHOP_URL` points to."""
    path = tmp_path / "shop.db"
    syncing.settings["SHOP_URL"] = f"sqlite:///{path}"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def test_every_sqlite_type_is_loaded_exactly(shop: sqlite3.Connection, syncing: Syncing) -> None:
    shop.executescript(
        "CREATE TABLE t (day DATE, id INTEGER, n BIGINT, share REAL, price DECIMAL(20,2), "
        "any NUMERIC, note TEXT, raw BLOB, ok BOOLEAN, at DATETIME, clock TIME, doc JSON);"
        "INSERT INTO t VALUES ('2025-10-01', 1, -9223372036854775808, 0.1, 12.3, 1e30, '', "
        "x'00ff', 1, '2025-10-01 12:00:00.123456', '23:59:59', '{\"a\": 1}');"
        "INSERT INTO t (day, id, note) VALUES ('2025-10-01', 2, '😀');"
    )
    (done,) = syncing.sync(TABLE)
    assert done.outcome is Outcome.SUCCESS, done.error
    first, second = syncing.rows("SELECT * FROM landed ORDER BY id")
    assert [value if not isinstance(value, memoryview) else bytes(value) for value in first] == [
        *(DAY, 1, -(2**63), 0.1, Decimal("12.30"), Decimal("1e30"), "", b"\x00\xff", True),
        datetime.fromisoformat("2025-10-01 12:00:00.123456"),
        datetime.fromisoformat("2025-10-01 23:59:59").time(),
        {"a": 1},
    ]
    assert [value for value in second if value is not None] == [DAY, 2, "😀"]
    assert syncing.types() == {
        "day": "date",
        "id": "bigint",
        "n": "bigint",
        "share": "double precision",
        "price": "numeric(20,2)",
        "any": "numeric",
        "note": "text",
        "raw": "bytea",
        "ok": "boolean",
        "at": "timestamp without time zone",
        "clock": "time without time zone",
        "doc": "jsonb",
    }


@pytest.mark.parametrize("separator", [" ", "T"])
def test_a_local_time_as_text_belongs_to_its_date(
    shop: sqlite3.Connection, syncing: Syncing, separator: str
) -> None:
    shop.execute("CREATE TABLE t (id INTEGER, at DATETIME)")
    times = ["09-30 23:59:59.999999", "10-01 00:00:00", "10-01 23:59:59.999999", "10-02 00:00:00"]
    shop.executemany(
        "INSERT INTO t VALUES (?, ?)",
        [(n, f"2025-{time.replace(' ', separator)}") for n, time in enumerate(times)],
    )
    (done,) = syncing.sync(TABLE | {"day_column": "at"}, timezone="Asia/Shanghai")
    assert done.outcome is Outcome.SUCCESS, done.error
    assert syncing.rows("SELECT id FROM landed ORDER BY id") == [(1,), (2,)]


def test_an_instant_is_a_number_of_seconds(shop: sqlite3.Connection, syncing: Syncing) -> None:
    shop.execute("CREATE TABLE t (id INTEGER, at INTEGER)")
    begin = int(datetime(2025, 9, 30, 16, tzinfo=timezone.utc).timestamp())
    seconds = [begin - 1, begin, begin + 0.25, begin + 86_400]
    shop.executemany("INSERT INTO t VALUES (?, ?)", enumerate(seconds))
    source = TABLE | {"day_column": "at", "types": {"at": "timestamptz"}}
    (done,) = syncing.sync(source, timezone="Asia/Shanghai")
    assert done.outcome is Outcome.SUCCESS, done.error
    assert syncing.rows("SELECT id, at AT TIME ZONE 'Asia/Shanghai' FROM landed ORDER BY id") == [
        (1, datetime.fromisoformat("2025-10-01")),
        (2, datetime.fromisoformat("2025-10-01 00:00:00.250000")),
    ]


def test_the_types_of_a_sqlite_query_must_be_declared(
    shop: sqlite3.Connection, syncing: Syncing
) -> None:
    shop.execute("CREATE TABLE t (id INTEGER, day TEXT)")
    shop.execute("INSERT INTO t VALUES (1, '2025-10-01')")
    query = SOURCE | {"query": "SELECT *, '10:30 %s :x' AS note FROM t"}
    with pytest.raises(SourceError, match="have unknown types: id, day, note; declare each under"):
        syncing.sync(query)
    types = {"id": "bigint", "day": "date", "note": "varchar(20)"}
    (done,) = syncing.sync(query | {"types": types})
    assert done.outcome is Outcome.SUCCESS, done.error
    assert syncing.rows("SELECT * FROM landed") == [(1, DAY, "10:30 %s :x")]


@pytest.mark.parametrize(
    ("kind", "declared", "invalid", "expected"),
    [
        ("TEXT", "date", "2025/10/01", "text that begins with a date such as 2025-10-01"),
        ("DATE", "date", "2025-10-1", "text that begins with a date such as 2025-10-01"),
        ("DATE", "date", "2025-02-30", "text that begins with a date such as 2025-10-01"),
        ("DATE", "date", 20251001, "text that begins with a date such as 2025-10-01"),
        (
            "DATE",
            "date",
            2460950,
            "text that begins with a date such as 2025-10-01",
        ),  # a Julian day number
        (
            "DATETIME",
            "timestamp",
            "01.10.2025 12:00",
            "text that begins with a date such as 2025-10-01",
        ),
        ("BLOB", "timestamp", b"2025-10-01", "text that begins with a date such as 2025-10-01"),
        ("INTEGER", "timestamptz", "2025-10-01 12:00:00", "a number of seconds since 1970"),
    ],
)
@pytest.mark.parametrize("selection", [{"table": "t"}, {"query": "SELECT day, id FROM t"}])
def test_an_invalid_day_value_is_reported_instead_of_skipped(
    shop: sqlite3.Connection,
    syncing: Syncing,
    selection: dict[str, str],
    kind: str,
    declared: str,
    invalid: Any,
    expected: str,
) -> None:
    shop.execute(f"CREATE TABLE t (day {kind}, id INTEGER)")
    good = {"date": "2025-10-01", "timestamp": "2025-10-01 00:00:00"}.get(declared, 1759276800)
    shop.executemany("INSERT INTO t VALUES (?, 1)", [(None,), (good,)])
    source = SOURCE | selection | {"types": {"day": declared, "id": "bigint"}}
    (done,) = syncing.sync(source)
    assert (done.outcome, done.error) == (Outcome.SUCCESS, None)
    shop.execute("INSERT INTO t VALUES (?, 2)", (invalid,))
    (done,) = syncing.sync(source)
    assert (
        f"day_column 'day' of {selection.get('table', 'query')} has the value {invalid!r}, "
        f"so its row does not belong to any day; the value must be {expected}. Fix it in the source"
    ) in (done.error or "")
    assert syncing.rows("SELECT id FROM landed") == [(1,)]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("INTEGER", "many", "column 'x' has the value 'many', which is not a valid bigint"),
        ("INTEGER", 1.5, "column 'x' has the value 1.5, which is not a valid bigint"),
        ("DATE", 20251001, "column 'x' has the value 20251001, which is not a valid date"),
        (
            "DATETIME",
            0,
            "column 'x' has the value 0, which is not a valid timestamp without time zone",
        ),
        ("TEXT", b"\xff", r"column 'x' has the value b'\xff', which is not a valid text"),
        ("BOOLEAN", 2, "column 'x' has the value 2, which is not a valid boolean"),
        (
            "DECIMAL(5,2)",
            1.234,
            "column 'x' has the value 1.234, which is not a valid numeric(5,2)",
        ),
        (
            "DATETIME",
            "2025-10-01T00:00:00+02:00",
            "which is not a valid timestamp without time zone",
        ),
        ("DATE", "1.10.2025", "column 'x' has the value '1.10.2025', which is not a valid date"),
    ],
)
def test_a_value_of_the_wrong_type_is_reported(
    shop: sqlite3.Connection, syncing: Syncing, kind: str, value: Any, message: str
) -> None:
    shop.execute(f"CREATE TABLE t (day DATE, x {kind})")
    shop.executemany("INSERT INTO t VALUES ('2025-10-01', ?)", [(None,), (value,)])
    (done,) = syncing.sync(TABLE)
    assert done.outcome is Outcome.FAILED
    assert message in (done.error or "")


def test_a_locked_file_is_a_transient_error(shop: sqlite3.Connection, syncing: Syncing) -> None:
    shop.execute("CREATE TABLE t (id INTEGER, day DATE)")
    rows = open_rows(syncing, TABLE | {"lock_timeout_seconds": 0.01})
    shop.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceError, match="database is locked") as caught:
        list(rows.read(DAY))
    assert is_transient(caught.value)
    shop.execute("ROLLBACK")
    assert list(rows.read(DAY)) == []
    rows.close()


def test_nothing_can_be_written_through_a_source(
    shop: sqlite3.Connection, syncing: Syncing
) -> None:
    shop.execute("CREATE TABLE t (id INTEGER, day DATE)")
    query = "DELETE FROM t RETURNING 1"
    (done,) = syncing.sync(TABLE | {"ready_query": query})
    assert "attempt to write a readonly database" in (done.error or "")


def test_a_failing_ready_query_is_reported(shop: sqlite3.Connection, syncing: Syncing) -> None:
    shop.execute("CREATE TABLE t (id INTEGER, day DATE)")
    (done,) = syncing.sync(TABLE | {"ready_query": "SELEC 1"})
    assert (done.error or "").startswith(
        "dataset landed: ready_query failed for 2025-10-01: OperationalError: near"
    )


def test_a_missing_file_is_reported_and_not_created(syncing: Syncing, tmp_path: Path) -> None:
    path = tmp_path / "no.db"
    syncing.settings["SHOP_URL"] = f"sqlite:///{path}"
    with pytest.raises(SourceUnreachableError, match=r"SQLite file .*no.db' in SHOP_URL not found"):
        syncing.sync(TABLE)
    assert not path.exists()


def test_another_dialect_is_read_with_the_standard_types(syncing: Syncing, source_url: str) -> None:
    helpers.run(
        source_url,
        "CREATE TABLE t (id int, big bigint, day timestamptz, local timestamp, amount numeric, "
        "price numeric(10,2), ok boolean, note varchar(9), doc jsonb, key uuid, raw bytea)",
    )
    helpers.run(
        source_url,
        "INSERT INTO t SELECT n, -n, '2025-10-01 00:00+08', '2025-10-01', 1e-9, 1.5, n > 1, '日', "
        "'{\"a\": 1.0}', '123e4567-e89b-12d3-a456-426655440000', '\\x00ff' "
        "FROM generate_series(1, 3) n",
    )
    syncing.settings["SHOP_URL"] = with_driver(source_url)
    done, after = syncing.sync(TABLE, [DAY, NEXT_DAY], timezone="Asia/Shanghai")
    assert (done.outcome, after.outcome) == (Outcome.SUCCESS, Outcome.SUCCESS), done.error
    query = "SELECT t::text FROM {} t ORDER BY id"
    assert syncing.rows(query.format("landed")) == helpers.run(source_url, query.format("t"))
