"""A PostgreSQL source reports its shape or a one-line error, and recovers from failures."""

import io
import threading
import time
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
from sync_pipeline_tests.waiting import wait_until

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


def open_error(url: str, **source: Any) -> str:
    """Return the error from opening a source: one line that starts with the dataset's name."""
    with pytest.raises(SourceError) as caught:
        open_source(dataset(**source), settings(url))
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("dataset sales: ")
    return text


ORDERS = "CREATE TABLE orders (id int, day date, price numeric(10,2))"


def test_the_shape_of_a_table_has_its_columns_with_their_full_types(source_url: str) -> None:
    run(source_url, ORDERS)
    with closing(open_source(dataset(), settings(source_url))) as source:
        assert source.shape == Shape(
            (Column("id", "integer"), Column("day", "date"), Column("price", "numeric(10,2)")),
            "day",
            DayType.DATE,
        )


def test_the_shape_of_a_query_has_the_columns_it_returns(source_url: str) -> None:
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
def test_the_day_column_may_be_a_date_a_timestamp_or_a_domain_over_one(
    source_url: str, kind: str, expected: DayType
) -> None:
    run(
        source_url,
        "CREATE DOMAIN birthday AS date",
        f"CREATE TABLE orders (day {kind})",
    )
    with closing(open_source(dataset(), settings(source_url))) as source:
        assert source.shape.day_type is expected


def test_a_missing_table_is_reported(source_url: str) -> None:
    assert "table nowhere.orders not found" in open_error(source_url, table="nowhere.orders")
    assert "table orders not found" in open_error(source_url)


def test_a_missing_column_is_reported_with_the_existing_ones(source_url: str) -> None:
    run(source_url, ORDERS)
    text = open_error(source_url, columns=("day", "Price"))
    assert "table orders has no column 'Price'" in text
    assert "'columns'" in text
    assert text.endswith("the columns are id, day, price")


def test_a_missing_day_column_is_reported_with_the_existing_ones(source_url: str) -> None:
    run(source_url, ORDERS)
    text = open_error(source_url, day_column="ordered_at")
    assert "has no column 'ordered_at'; correct 'day_column'" in text
    assert text.endswith("the columns are id, day, price")


def test_a_day_column_of_another_type_is_rejected(source_url: str) -> None:
    run(source_url, ORDERS)
    text = open_error(source_url, day_column="price")
    assert "'price' of table orders is of type numeric(10,2); choose" in text


def test_two_columns_with_the_same_name_are_rejected(source_url: str) -> None:
    text = open_error(source_url, query="SELECT now() AS day, 1 AS a, 2 AS a")
    assert "two columns named 'a'" in text
    assert "AS" in text


@pytest.mark.parametrize("end", [";", " ; \n"])
def test_a_query_that_ends_with_a_semicolon_is_rejected(source_url: str, end: str) -> None:
    assert "remove the ';'" in open_error(source_url, query="SELECT now() AS day" + end)


def test_the_error_for_an_invalid_query_contains_the_servers_message(source_url: str) -> None:
    text = open_error(source_url, query="SELECT nothing AS day")
    assert 'column "nothing" does not exist' in text
    assert "defs.yaml" in text


@pytest.fixture
def stranger(source_url: str) -> Any:
    """Yield the name and the URL of a user without permissions in the source database."""
    name = f"stranger_{parse_dsn(source_url)['dbname']}"
    run(source_url, f"CREATE ROLE {name} LOGIN PASSWORD 'open sesame'")
    dsn = parse_dsn(source_url) | {"user": name, "password": "open sesame"}
    host = dsn["host"]
    url = f"postgresql://{name}:open%20sesame@/{dsn['dbname']}?host={host}"
    yield name, url + (f"&port={dsn['port']}" if "port" in dsn else "")
    run(source_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_missing_permission_on_a_table_is_reported(
    source_url: str, stranger: tuple[str, str]
) -> None:
    run(source_url, ORDERS)
    name, url = stranger
    text = open_error(url)
    assert "permission denied for table orders" in text
    assert "has SELECT permission" in text
    assert "sesame" not in text
    # A grant on just the copied columns is enough.
    run(source_url, f"GRANT SELECT (id, day) ON orders TO {name}")
    open_source(dataset(columns=("day", "id")), settings(url)).close()


def test_a_missing_permission_on_a_schema_is_reported(
    source_url: str, stranger: tuple[str, str]
) -> None:
    run(source_url, "CREATE SCHEMA vault", "CREATE TABLE vault.orders (day date)")
    assert "permission denied for schema vault" in open_error(stranger[1], table="vault.orders")


def test_a_missing_url_is_reported_with_its_setting() -> None:
    with pytest.raises(SettingError, match="SYNC_SOURCE_URL is not set"):
        open_source(dataset(), Settings({}))


def test_an_unreachable_source_is_reported_with_its_setting_and_no_password() -> None:
    with pytest.raises(SourceError, match="SYNC_SOURCE_URL") as caught:
        open_source(dataset(), settings("postgresql://u:sesame@127.0.0.1:1/x"))
    assert "sesame" not in str(caught.value)


def test_a_lost_connection_fails_its_day_and_the_next_day_opens_another(source_url: str) -> None:
    run(source_url, ORDERS, "INSERT INTO orders VALUES (1, '2025-10-02', 1)")
    with closing(open_source(dataset(), settings(source_url))) as source:
        assert source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY) == 1
        run(
            source_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'sync_pipeline: read sales' "
            "AND datname = current_database()",
        )
        with pytest.raises(SourceError, match="cannot read 2025-10-02 from table orders") as caught:
            source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY)
        assert isinstance(caught.value.__cause__, psycopg2.OperationalError)
        assert source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY) == 1


def test_a_slow_statement_is_cancelled_by_the_datasets_timeout(source_url: str) -> None:
    query = "SELECT date '2025-10-02' AS day, pg_sleep(60)::text AS slept"
    limited = dataset(query=query, statement_timeout_seconds=0.2)
    with (
        closing(open_source(limited, settings(source_url))) as source,
        pytest.raises(SourceError, match="statement timeout") as caught,
    ):
        source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY)
    assert getattr(caught.value.__cause__, "pgcode", None) == "57014"


def test_a_read_is_cancelled_from_another_thread(source_url: str) -> None:
    query = "SELECT date '2025-10-02' AS day, pg_sleep(60)::text AS slept"
    with closing(open_source(dataset(query=query), settings(source_url))) as source:
        threading.Timer(0.3, source.cancel).start()
        started = time.monotonic()
        with pytest.raises(SourceError, match="canceling statement due to user request"):
            source.read_day(DAY, io.BytesIO(), CopyFormat.BINARY)
        assert time.monotonic() - started < 10


def test_a_late_cancellation_does_not_affect_the_next_day(source_url: str) -> None:
    # The cancel request may still be on its way to the session, so the next day uses a new one.
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


def test_a_sink_error_is_raised_and_the_source_stays_usable(source_url: str) -> None:
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
    wait_until(lambda: run(source_url, sessions) == [(0,)], 5)


def test_a_source_that_fails_to_open_leaves_no_session(source_url: str) -> None:
    open_error(source_url)
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync_pipeline: read%' "
        "AND datname = current_database()"
    )
    wait_until(lambda: run(source_url, sessions) == [(0,)], 5)
