"""A PostgreSQL source says what it delivers, or in one line why it cannot."""

import io
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SettingError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import Column, CopyFormat, DayType, Shape
from sync_pipeline_tests.integration.helpers import run

pytestmark = pytest.mark.integration

DAY = date(2025, 10, 2)


def dataset(**source: Any) -> Dataset:
    source = {"url_env": "SYNC_SOURCE_URL", "day_column": "day"} | source
    if "query" not in source:
        source.setdefault("table", "orders")
    return Dataset.model_validate(
        {
            "name": "sales",
            "start_date": DAY,
            "source": source,
            "target": {"table": "orders"},
        }
    )


def settings(url: str) -> Settings:
    return Settings({"SYNC_SOURCE_URL": url})


def refusal(url: str, **source: Any) -> str:
    """Return what opening the source is refused with: one line that names the dataset."""
    with pytest.raises(SourceError) as raised:
        open_source(dataset(**source), settings(url))
    text = str(raised.value)
    assert "\n" not in text
    assert text.startswith("dataset sales: ")
    return text


ORDERS = "CREATE TABLE orders (id int, day date, price numeric(10,2))"


def test_a_tables_shape_is_its_columns_with_their_full_types(source_url: str) -> None:
    run(source_url, ORDERS)
    with closing(open_source(dataset(), settings(source_url))) as source:
        assert source.shape == Shape(
            (Column("id", "integer"), Column("day", "date"), Column("price", "numeric(10,2)")),
            "day",
            DayType.DATE,
        )


def test_a_querys_shape_is_what_it_returns(source_url: str) -> None:
    query = "SELECT 1 AS id, 'x' AS note, now() AS day, ARRAY[1.5] AS prices -- a comment"
    with closing(open_source(dataset(query=query), settings(source_url))) as source:
        assert [column.type for column in source.shape.columns] == [
            "integer",
            "text",
            "timestamp with time zone",
            "numeric[]",
        ]
        assert source.shape.day_type is DayType.TIMESTAMPTZ


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("date", DayType.DATE),
        ("timestamp(3)", DayType.TIMESTAMP),
        ("timestamptz(0)", DayType.TIMESTAMPTZ),
        ("birthday", DayType.DATE),
    ],
)
def test_the_day_may_be_a_date_a_timestamp_or_a_domain_over_one(
    source_url: str, kind: str, expected: DayType
) -> None:
    run(
        source_url,
        "CREATE DOMAIN birthday AS date",
        f"CREATE TABLE orders (day {kind})",
    )
    with closing(open_source(dataset(), settings(source_url))) as source:
        assert source.shape.day_type is expected


def test_a_missing_table_is_named(source_url: str) -> None:
    assert "table nowhere.orders not found" in refusal(source_url, table="nowhere.orders")
    assert "table orders not found" in refusal(source_url)


def test_a_missing_column_is_named_with_those_that_exist(source_url: str) -> None:
    run(source_url, ORDERS)
    text = refusal(source_url, columns=("day", "Price"))
    assert "table orders has no column 'Price'" in text
    assert "'columns'" in text
    assert text.endswith("the columns are id, day, price")


def test_a_missing_day_column_is_named_with_the_columns_that_exist(source_url: str) -> None:
    run(source_url, ORDERS)
    text = refusal(source_url, day_column="ordered_at")
    assert "has no column 'ordered_at'; correct 'day_column'" in text
    assert text.endswith("the columns are id, day, price")


def test_a_day_column_of_another_type_is_refused(source_url: str) -> None:
    run(source_url, ORDERS)
    text = refusal(source_url, day_column="price")
    assert "'price' of table orders is of type numeric(10,2); choose" in text


def test_two_columns_of_one_name_are_refused(source_url: str) -> None:
    text = refusal(source_url, query="SELECT now() AS day, 1 AS a, 2 AS a")
    assert "two columns named 'a'" in text
    assert "AS" in text


@pytest.mark.parametrize("end", [";", " ; \n"])
def test_a_query_that_ends_with_a_semicolon_is_refused(source_url: str, end: str) -> None:
    assert "remove the ';'" in refusal(source_url, query="SELECT now() AS day" + end)


def test_a_query_that_is_wrong_is_told_what_the_server_said(source_url: str) -> None:
    text = refusal(source_url, query="SELECT nothing AS day")
    assert 'column "nothing" does not exist' in text
    assert "defs.yaml" in text


@pytest.fixture
def stranger(source_url: str) -> Any:
    """The URL of the source database for a user who may do nothing there."""
    name = f"stranger_{parse_dsn(source_url)['dbname']}"
    run(source_url, f"CREATE ROLE {name} LOGIN PASSWORD 'open sesame'")
    dsn = parse_dsn(source_url) | {"user": name, "password": "open sesame"}
    host = dsn["host"]
    url = f"postgresql://{name}:open%20sesame@/{dsn['dbname']}?host={host}"
    yield name, url + (f"&port={dsn['port']}" if "port" in dsn else "")
    run(source_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_table_that_may_not_be_read_is_named(source_url: str, stranger: tuple[str, str]) -> None:
    run(source_url, ORDERS)
    name, url = stranger
    text = refusal(url)
    assert "permission denied for table orders" in text
    assert "has SELECT permission" in text
    assert "sesame" not in text
    # A grant on the columns that are copied is enough.
    run(source_url, f"GRANT SELECT (id, day) ON orders TO {name}")
    open_source(dataset(columns=("day", "id")), settings(url)).close()


def test_a_schema_that_may_not_be_used_is_named(source_url: str, stranger: tuple[str, str]) -> None:
    run(source_url, "CREATE SCHEMA vault", "CREATE TABLE vault.orders (day date)")
    assert "permission denied for schema vault" in refusal(stranger[1], table="vault.orders")


def test_a_source_without_a_url_names_the_setting() -> None:
    with pytest.raises(SettingError, match="SYNC_SOURCE_URL is not set"):
        open_source(dataset(), Settings({}))


def test_a_source_that_does_not_answer_names_the_setting_and_no_password() -> None:
    with pytest.raises(SourceError, match="SYNC_SOURCE_URL") as raised:
        open_source(dataset(), settings("postgresql://u:sesame@127.0.0.1:1/x"))
    assert "sesame" not in str(raised.value)


def test_a_lost_connection_fails_its_day_and_the_next_opens_another(source_url: str) -> None:
    run(source_url, ORDERS, "INSERT INTO orders VALUES (1, '2025-10-02', 1)")
    with closing(open_source(dataset(), settings(source_url))) as source:
        assert source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY) == 1
        run(
            source_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'sync_pipeline: read sales' "
            "AND datname = current_database()",
        )
        with pytest.raises(SourceError, match="cannot read 2025-10-02 from table orders") as raised:
            source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY)
        assert isinstance(raised.value.__cause__, psycopg2.OperationalError)
        assert source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY) == 1


def test_a_statement_that_takes_too_long_is_ended_by_the_datasets_limit(source_url: str) -> None:
    query = "SELECT date '2025-10-02' AS day, pg_sleep(60)::text AS slept"
    limited = dataset(query=query, statement_timeout_seconds=0.2)
    with (
        closing(open_source(limited, settings(source_url))) as source,
        pytest.raises(SourceError, match="statement timeout") as raised,
    ):
        source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY)
    assert getattr(raised.value.__cause__, "pgcode", None) == "57014"


def test_a_read_is_broken_off_from_another_thread(source_url: str) -> None:
    query = "SELECT date '2025-10-02' AS day, pg_sleep(60)::text AS slept"
    with closing(open_source(dataset(query=query), settings(source_url))) as source:
        threading.Timer(0.3, source.cancel).start()
        started = time.monotonic()
        with pytest.raises(SourceError, match="canceling statement due to user request"):
            source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY)
        assert time.monotonic() - started < 10


def test_a_cancellation_that_comes_late_does_not_hit_the_next_day(source_url: str) -> None:
    # It may still be on its way to the session it was aimed at, so the next day uses another.
    query = "SELECT date '2025-10-02' AS day, pg_backend_pid() AS session"
    with closing(open_source(dataset(query=query), settings(source_url))) as source:

        def session() -> bytes:
            read = io.BytesIO()
            assert source.read_day(DAY, read, CopyFormat.BINARY) == 1
            return read.getvalue()

        first = session()
        assert session() == first
        source.cancel()
        second = session()
        assert second != first
        assert session() == second


def test_what_the_sink_raises_comes_out_and_the_source_reads_on(source_url: str) -> None:
    run(
        source_url,
        "CREATE TABLE orders (day date, filler text)",
        "INSERT INTO orders SELECT '2025-10-02', repeat('x', 1000) FROM generate_series(1, 20000)",
    )

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError("disk full")

    with closing(open_source(dataset(), settings(source_url))) as source:
        with pytest.raises(OSError, match="disk full"):
            source.read_day(DAY, Full(), CopyFormat.BINARY)
        assert source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY) == 20000


def test_a_closed_source_leaves_no_session(source_url: str) -> None:
    run(source_url, ORDERS)
    source = open_source(dataset(), settings(source_url))
    source.close()
    source.close()
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync_pipeline: read%' "
        "AND datname = current_database()"
    )
    assert eventually(lambda: run(source_url, sessions) == [(0,)])


def test_a_source_that_is_refused_leaves_no_session(source_url: str) -> None:
    refusal(source_url)
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync_pipeline: read%' "
        "AND datname = current_database()"
    )
    assert eventually(lambda: run(source_url, sessions) == [(0,)])


def eventually(holds: Callable[[], bool]) -> bool:
    """Say whether `holds` becomes true within five seconds."""
    for _ in range(50):
        if holds():
            return True
        time.sleep(0.1)
    return False
