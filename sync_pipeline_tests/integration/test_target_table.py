"""The target table is created from the source's columns or checked against them, and each error
is a single line."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SettingError, TargetError
from sync_pipeline.settings import Settings
from sync_pipeline.sources.base import Column, DayType, Shape
from sync_pipeline.targets import open_target
from sync_pipeline.targets.postgres import Target
from sync_pipeline_tests.integration.helpers import run

pytestmark = pytest.mark.integration

SHAPE = Shape(
    (
        Column("id", "integer"),
        Column("day", "timestamp with time zone"),
        Column("price", "numeric(10,2)"),
        Column("note", "character varying(20)"),
    ),
    "day",
    DayType.TIMESTAMPTZ,
)
FITTING = "id int, day timestamptz, price numeric(10,2), note varchar(20)"


def prepare(url: str, *, table: str = "orders", name: str = "sales") -> None:
    dataset = Dataset.model_validate(
        {
            "name": name,
            "start_date": date(2025, 1, 1),
            "source": {"url_env": "SYNC_SOURCE_URL", "table": "orders", "day_column": "day"},
            "target": {"table": table},
        }
    )
    with closing(open_target(dataset, Settings({"SYNC_DATABASE_URL": url}))) as connection:
        Target(connection, dataset).prepare(SHAPE)


def prepare_error(url: str, **given: str) -> str:
    """Return the error raised when the table is prepared: one line that names the dataset."""
    with pytest.raises(TargetError) as raised:
        prepare(url, **given)
    text = str(raised.value)
    assert "\n" not in text
    assert text.startswith("dataset sales: ")
    return text


@pytest.fixture
def user(database_url: str) -> Iterator[tuple[str, str]]:
    """Yield the name of a user without privileges in the target database, and that user's URL."""
    dsn = parse_dsn(database_url)
    name = f"loader_{dsn['dbname']}"
    run(
        database_url,
        f"CREATE ROLE {name} LOGIN PASSWORD 'sesame'",
        "REVOKE CREATE ON SCHEMA public FROM public",
    )
    url = f"postgresql://{name}:sesame@/{dsn['dbname']}?host={dsn['host']}"
    yield name, url + (f"&port={dsn['port']}" if "port" in dsn else "")
    run(database_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_missing_table_is_created_with_the_sources_types_and_an_index(database_url: str) -> None:
    run(database_url, "CREATE SCHEMA shop")
    prepare(database_url, table="shop.orders")
    assert run(
        database_url,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'shop.orders'::regclass AND attnum > 0 ORDER BY attnum",
    ) == [(column.name, column.type) for column in SHAPE.columns]
    [(index,)] = run(database_url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'shop'")
    assert index.endswith("(day)")


def test_preparing_twice_changes_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(database_url)
    prepare(database_url)
    assert run(database_url, "SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'") == [(1,)]
    assert not caplog.records


def test_several_workers_may_prepare_the_table_concurrently(database_url: str) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        try:
            prepare(database_url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert run(database_url, "SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'") == [(1,)]


def test_a_missing_schema_is_reported_with_the_statement_to_run(database_url: str) -> None:
    text = prepare_error(database_url, table="Shop.orders")
    assert "schema Shop does not exist" in text
    assert text.endswith('CREATE SCHEMA "Shop"')


def test_all_differences_are_reported_in_one_line(database_url: str) -> None:
    run(
        database_url,
        "CREATE TABLE orders (id smallint, day timestamptz, "
        "note varchar(20) GENERATED ALWAYS AS ('x') STORED, must text NOT NULL)",
    )
    text = prepare_error(database_url)
    assert "column 'id' is smallint, but must be integer" in text
    assert "column 'price' (numeric(10,2)) is missing" in text
    assert "column 'note' is generated" in text
    assert "column 'must' is not in the source and is NOT NULL without a default" in text


@pytest.mark.parametrize(
    "columns",
    [
        FITTING,
        FITTING + ", extra text, n serial NOT NULL, at timestamptz NOT NULL DEFAULT now(), "
        "i int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (id * 2) STORED",
        "note text, price numeric, day timestamptz, id int",  # different order, wider types
        "id int PRIMARY KEY, day timestamptz NOT NULL, price numeric(10,2), note varchar",
        "id bigint, day timestamptz, price numeric(12,4), note text",
        "id numeric(10), day timestamptz, price numeric, note text",
    ],
)
def test_a_table_that_accepts_every_row_matches(database_url: str, columns: str) -> None:
    run(database_url, f"CREATE TABLE orders ({columns})", "CREATE INDEX ON orders (day, id)")
    prepare(database_url)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("price", "numeric(12,1)"),
        ("price", "double precision"),
        ("price", "numeric(9,2)"),
        ("day", "timestamptz(0)"),
    ],
)
def test_a_type_that_would_round_or_reject_a_value_does_not_match(
    database_url: str, column: str, kind: str
) -> None:
    run(
        database_url,
        f"CREATE TABLE orders ({FITTING})",
        f"ALTER TABLE orders ALTER {column} TYPE {kind}",
    )
    assert f"column {column!r} is " in prepare_error(database_url)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("CREATE VIEW orders AS SELECT 1 AS id", "a view"),
        ("CREATE MATERIALIZED VIEW orders AS SELECT 1 AS id", "a materialized view"),
        ("CREATE SEQUENCE orders", "a sequence"),
        ("CREATE TYPE orders AS (id int)", "not a table"),
    ],
)
def test_a_relation_that_is_not_a_table_is_rejected(
    database_url: str, statement: str, kind: str
) -> None:
    run(database_url, statement)
    assert f"the target orders is {kind}" in prepare_error(database_url)


def test_a_table_without_an_index_on_the_day_causes_a_single_warning(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(database_url, f"CREATE TABLE slow ({FITTING})", "CREATE INDEX ON slow (id, day)")
    name = f"slow_{parse_dsn(database_url)['dbname']}"
    with caplog.at_level(logging.WARNING):
        prepare(database_url, table="slow", name=name)
        prepare(database_url, table="slow", name=name)
    [record] = caplog.records
    assert 'CREATE INDEX ON "slow" ("day")' in record.message


def test_a_table_partitioned_by_the_day_needs_no_index(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(database_url, f"CREATE TABLE orders ({FITTING}) PARTITION BY RANGE (day)")
    prepare(database_url)
    assert not caplog.records


def test_a_user_who_may_not_create_the_table_gets_the_grant_to_run(
    database_url: str, user: tuple[str, str]
) -> None:
    name, url = user
    text = prepare_error(url)
    grant = text.rpartition("run: ")[2]
    assert grant == f'GRANT CREATE ON SCHEMA "public" TO "{name}"'
    run(database_url, grant)
    prepare(url)


def test_a_user_who_may_not_use_the_schema_gets_the_grant_to_run(
    database_url: str, user: tuple[str, str]
) -> None:
    name, url = user
    run(database_url, "CREATE SCHEMA vault", f"CREATE TABLE vault.orders ({FITTING})")
    text = prepare_error(url, table="vault.orders")
    assert f'GRANT USAGE ON SCHEMA "vault" TO "{name}"' in text


def test_a_user_who_may_not_write_to_the_table_gets_the_grant_to_run(
    database_url: str, user: tuple[str, str]
) -> None:
    name, url = user
    run(database_url, f"CREATE TABLE orders ({FITTING})", f"GRANT SELECT ON orders TO {name}")
    grant = prepare_error(url).rpartition("run: ")[2]
    assert grant == f'GRANT INSERT, DELETE ON "orders" TO "{name}"'
    run(database_url, grant, "CREATE INDEX ON orders (day)")
    prepare(url)


def test_an_error_leaves_no_transaction_open(database_url: str) -> None:
    dataset = Dataset.model_validate(
        {
            "name": "sales",
            "start_date": date(2025, 1, 1),
            "source": {"url_env": "SYNC_SOURCE_URL", "table": "orders", "day_column": "day"},
            "target": {"table": "missing.orders"},
        }
    )
    settings = Settings({"SYNC_DATABASE_URL": database_url})
    with closing(open_target(dataset, settings)) as connection:
        with pytest.raises(TargetError):
            Target(connection, dataset).prepare(SHAPE)
        status = connection.get_transaction_status()
    assert status == psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_without_a_target_url_the_error_names_the_setting() -> None:
    with pytest.raises(SettingError, match="SYNC_DATABASE_URL is not set"):
        prepare("")
