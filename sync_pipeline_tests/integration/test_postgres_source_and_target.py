"""Exactly a day's rows are copied, unchanged, from one PostgreSQL database to another."""

import time
import tracemalloc
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.targets import open_target
from sync_pipeline.targets.postgres import Loaded, Target
from sync_pipeline_tests.integration.helpers import replace_day, run

pytestmark = pytest.mark.integration

DAY = date(2025, 10, 2)


@dataclass(frozen=True)
class Databases:
    source: str
    target: str

    @property
    def settings(self) -> Settings:
        return Settings({"SYNC_SOURCE_URL": self.source, "SYNC_DATABASE_URL": self.target})

    def sync(self, dataset: Dataset, *days: date) -> list[Loaded]:
        """Sync `days` with one source and one target, and commit each day separately."""
        loaded = []
        with (
            closing(open_source(dataset, self.settings)) as source,
            closing(open_target(dataset, self.settings)) as connection,
        ):
            target = Target(connection, dataset)
            target.prepare(source.shape)
            for day in days:
                target.begin_day(day)
                loaded.append(replace_day(target, day, source))
                connection.commit()
        return loaded


@pytest.fixture
def databases(source_url: str, database_url: str) -> Databases:
    return Databases(source_url, database_url)


def dataset(*, zone: str = "UTC", target: str = "orders", **source: Any) -> Dataset:
    source = {"url_env": "SYNC_SOURCE_URL", "day_column": "day"} | source
    if "query" not in source:
        source.setdefault("table", "orders")
    return Dataset.model_validate(
        {
            "name": "orders",
            "start_date": date(2025, 1, 1),
            "timezone": zone,
            "source": source,
            "target": {"table": target},
        }
    )


def test_a_day_is_replaced_and_other_days_are_unchanged(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (id int, day date, note text)",
        "INSERT INTO orders SELECT n, date '2025-10-01' + n / 10, 'new' "
        "FROM generate_series(0, 29) n",
    )
    databases.sync(dataset(), *(DAY + timedelta(days=n) for n in (-1, 0, 1)))
    run(databases.target, "UPDATE orders SET note = 'old'", "DELETE FROM orders WHERE id = 15")

    [loaded] = databases.sync(dataset(), DAY)

    assert (loaded.rows_read, loaded.rows_loaded, loaded.rows_deleted) == (10, 10, 9)
    assert loaded.bytes > 10 * len("new")
    rows = run(databases.target, "SELECT day, note, count(*) FROM orders GROUP BY 1, 2 ORDER BY 1")
    assert rows == [
        (date(2025, 10, 1), "old", 10),
        (date(2025, 10, 2), "new", 10),
        (date(2025, 10, 3), "old", 10),
    ]


def test_a_day_without_rows_at_the_source_is_cleared(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (id int, day date)",
        "INSERT INTO orders VALUES (1, '2025-10-02')",
    )
    databases.sync(dataset(), DAY)
    run(databases.source, "DELETE FROM orders")

    [loaded] = databases.sync(dataset(), DAY)

    assert (loaded.rows_read, loaded.rows_loaded, loaded.rows_deleted) == (0, 0, 1)
    assert run(databases.target, "SELECT * FROM orders") == []


def test_rows_with_a_null_or_infinite_day_belong_to_no_day(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (id int, day timestamptz)",
        "INSERT INTO orders VALUES (1, NULL), (2, 'infinity'), (3, '-infinity'), "
        "(4, '2025-10-02 12:00+00'), (5, '0044-03-15 BC')",
    )
    databases.sync(dataset(), DAY)
    assert run(databases.target, "SELECT id FROM orders") == [(4,)]


VALUES = {
    "smallint": "-32768",
    "bigint": "9223372036854775807",
    "real": "'-infinity'",
    "double precision": "'NaN'",
    "numeric": "'12345678901234567890.000000000123456789'",
    "numeric(10,2)": "'NaN'",
    "money": "'12.34'",
    "boolean": "true",
    "text": "'a\tb\\N\nüß漢字😀'",
    "character varying(7)": "''",
    "character(5)": "'ab'",
    '"char"': "'x'",
    "name": "'n'",
    "bytea": "'\\x00ff0a5c2e'",
    "json": """'{"b": 1,  "a": [null]}'""",
    "jsonb": """'{"b": 1, "a": "😀"}'""",
    "uuid": "'00112233-4455-6677-8899-aabbccddeeff'",
    "date": "'0044-03-15 BC'",
    "time(3) without time zone": "'23:59:59.999'",
    "time with time zone": "'12:00+05:30'",
    "timestamp(0) without time zone": "'12345-01-01 00:00:01'",
    "timestamp(3) with time zone": "'infinity'",
    "interval": "'-1 year 2 mons -3 days 04:05:06.789'",
    "interval day to second(2)": "'1 day 2.5 seconds'",
    "inet": "'2001:db8::1/64'",
    "macaddr": "'08:00:2b:01:02:03'",
    "bit(3)": "'101'",
    "bit varying": "'10101'",
    "point": "'(1,2.5)'",
    "int4range": "'[1,10)'",
    "int4multirange": "'{[1,3),[5,8)}'",
    "tsvector": "'a:1 b:2'",
    "pg_lsn": "'16/B374D848'",
    "integer[]": "'{{1,NULL},{3,4}}'",
    "text[]": """'{"",NULL,"a,b","\\"",😀}'""",
    "numeric(10,2)[]": "'{1.50}'",
}


def test_every_postgresql_type_keeps_its_type_and_value(databases: Databases) -> None:
    types = {f"c{n}": kind for n, (kind, value) in enumerate(VALUES.items())}
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    values = ", ".join(value for value in VALUES.values())
    nulls = ", ".join("NULL" for _ in types)
    run(
        databases.source,
        f"CREATE TABLE orders (day date, {columns})",
        f"INSERT INTO orders VALUES ('2025-10-02', {values}), ('2025-10-02', {nulls})",
    )

    databases.sync(dataset(), DAY)

    as_text = ", ".join(f"{name}::text" for name in types)
    everything = f"SELECT {as_text} FROM orders ORDER BY c0"
    assert run(databases.target, everything) == run(databases.source, everything)
    described = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'orders'::regclass AND attnum > 1 ORDER BY attnum"
    )
    assert dict(run(databases.target, described)) == types


@pytest.mark.parametrize("end", ["source", "target"])
def test_values_do_not_depend_on_the_settings_of_a_database(databases: Databases, end: str) -> None:
    changed = {
        "extra_float_digits": "0",
        "bytea_output": "escape",
        "IntervalStyle": "sql_standard",
        "DateStyle": "German",
        "TimeZone": "Asia/Shanghai",
        "quote_all_identifiers": "on",
        "array_nulls": "off",
        "standard_conforming_strings": "off",
        "transform_null_equals": "on",
        "xmlbinary": "hex",
    }
    # Because of the composite type, all columns are copied as text.
    run(
        databases.source,
        "CREATE TYPE parts AS (f real, b bytea, i interval, t timestamptz, n text[], r numrange)",
        "CREATE TABLE orders (day date, f double precision, n text[], p parts)",
        "INSERT INTO orders VALUES ('2025-10-02', 0.1::float8 + 0.2, ARRAY[NULL, 'a'], "
        "ROW(0.1, '\\x00ff', '-1 year 04:05:06', '2025-03-04 05:06:07+00', ARRAY['a', NULL], "
        "'[0.5,1.5)')::parts)",
    )
    url = getattr(databases, end)
    [(name,)] = run(url, "SELECT current_database()")
    run(url, *(f'ALTER DATABASE "{name}" SET {key} = {value!r}' for key, value in changed.items()))
    try:
        databases.sync(dataset(), DAY)
    finally:
        run(url, f'ALTER DATABASE "{name}" RESET ALL')
    assert run(databases.target, "SELECT f, n, p FROM orders") == [
        (
            0.1 + 0.2,
            [None, "a"],
            '(0.1,"\\\\x00ff","-1 years +04:05:06","2025-03-04 05:06:07+00",'
            '"{a,NULL}","[0.5,1.5)")',
        )
    ]


def test_user_defined_types_of_the_source_are_copied_as_text(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE DOMAIN price AS numeric(10,2) CHECK (value >= 0)",
        "CREATE DOMAIN special_price AS price",
        "CREATE TABLE orders (day date, m mood, ms mood[], p pair, special special_price, "
        "r regclass, acl aclitem, prices price[], rs regclass[])",
        "INSERT INTO orders VALUES ('2025-10-02', 'ok', '{sad,NULL}', '(1,\"x y\")', 1.5, "
        "'pg_class', (SELECT relacl[1] FROM pg_class WHERE relacl IS NOT NULL LIMIT 1), '{1}', "
        "'{pg_class}')",
    )

    databases.sync(dataset(), DAY)

    rows = run(databases.target, "SELECT m, ms, p, special::text, r, prices, rs FROM orders")
    assert rows == [("ok", "{sad,NULL}", '(1,"x y")', "1.50", "pg_class", "{1.00}", "{pg_class}")]
    types = run(
        databases.target,
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'orders'::regclass AND attnum > 1 ORDER BY attnum",
    )
    assert [row[0] for row in types] == [
        "text", "text", "text", "numeric(10,2)", "text", "text", "text", "text",
    ]  # fmt: skip


@pytest.mark.parametrize("from_query", [False, True])
def test_any_table_or_column_name_works(databases: Databases, from_query: bool) -> None:
    names = ["select", 'a "quoted" name', "100%", "%s %(x)s", "ß" * 31 + "x", "日", "{braces}", "'"]
    columns = sql.SQL(", ").join(sql.SQL("{} int").format(sql.Identifier(name)) for name in names)
    table = sql.Identifier("Ord%ers")
    run(
        databases.source,
        sql.SQL('CREATE TABLE {} ({}, "the day" date)').format(table, columns),
        sql.SQL("INSERT INTO {} VALUES (1, 2, 3, 4, 5, 6, 7, 8, '2025-10-02')").format(table),
    )
    source: dict[str, Any] = (
        {"query": "SELECT * FROM \"Ord%ers\" WHERE '%s' LIKE '%' -- {all} of them %"}
        if from_query
        else {"table": "Ord%ers"}
    )

    databases.sync(dataset(day_column="the day", target="Ord%ers", **source), DAY)

    assert run(databases.target, 'SELECT * FROM "Ord%ers"') == [(1, 2, 3, 4, 5, 6, 7, 8, DAY)]


def test_the_columns_setting_selects_and_orders_columns(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (id int, secret text, day date, note text)",
        "INSERT INTO orders VALUES (1, 's', '2025-10-02', 'n')",
    )
    databases.sync(dataset(columns=("note", "day", "id")), DAY)
    assert run(databases.target, "SELECT * FROM orders") == [("n", DAY, 1)]


def test_dropped_generated_and_identity_columns_are_handled(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (dropped int, id int GENERATED ALWAYS AS IDENTITY, day date, "
        "twice int GENERATED ALWAYS AS (7 * 2) STORED)",
        "ALTER TABLE orders DROP COLUMN dropped",
        "INSERT INTO orders (day) VALUES ('2025-10-02')",
    )
    databases.sync(dataset(), DAY)
    assert run(databases.target, "SELECT * FROM orders") == [(1, DAY, 14)]


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW", "PARTITIONED", "query"])
def test_views_partitioned_tables_and_queries_are_sources(databases: Databases, kind: str) -> None:
    run(
        databases.source,
        "CREATE TABLE base (id int, day date) PARTITION BY RANGE (day)",
        "CREATE TABLE part PARTITION OF base DEFAULT",
        "INSERT INTO base VALUES (1, '2025-10-01'), (2, '2025-10-02'), (3, '2025-10-03')",
        "CREATE VIEW v AS SELECT * FROM base",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM base",
    )
    source: dict[str, str] = {
        "VIEW": {"table": "v"},
        "MATERIALIZED VIEW": {"table": "public.m"},
        "PARTITIONED": {"table": "base"},
        "query": {"query": "WITH b AS (SELECT * FROM base) SELECT id, day FROM b"},
    }[kind]
    databases.sync(dataset(**source), DAY)
    assert run(databases.target, "SELECT id FROM orders") == [(2,)]


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2025, 3, 9), 23), (date(2025, 11, 2), 25), (date(2025, 10, 2), 24)]
)
def test_a_timestamptz_day_has_the_number_of_hours_in_its_time_zone(
    databases: Databases, day: date, hours: int
) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (day timestamptz(3))",
        "INSERT INTO orders SELECT generate_series("
        "timestamptz '2025-01-01 00:30+00', timestamptz '2025-12-31 23:30+00', '1 hour')",
    )

    [loaded] = databases.sync(dataset(zone="America/New_York"), day)

    assert loaded.rows_loaded == hours
    local_days = "SELECT DISTINCT (day AT TIME ZONE 'America/New_York')::date FROM orders"
    assert run(databases.target, local_days) == [(day,)]
    # The next sync deletes exactly the day's rows.
    assert databases.sync(dataset(zone="America/New_York"), day)[0].rows_deleted == hours


def test_a_timestamp_without_time_zone_is_local_time(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (id int, day timestamp)",
        "INSERT INTO orders VALUES (1, '2025-10-01 23:59:59.999999'), (2, '2025-10-02'), "
        "(3, '2025-10-02 23:59:59.999999'), (4, '2025-10-03')",
    )
    databases.sync(dataset(zone="America/New_York"), DAY)
    assert run(databases.target, "SELECT id FROM orders ORDER BY id") == [(2,), (3,)]


def test_a_source_in_another_encoding_is_converted(databases: Databases) -> None:
    name = psycopg2.extensions.parse_dsn(databases.source)["dbname"]
    with closing(psycopg2.connect(databases.target)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f'DROP DATABASE "{name}"')
        connection.cursor().execute(
            f"CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
    run(
        databases.source,
        "CREATE TABLE orders (day date, note text)",
        "INSERT INTO orders VALUES ('2025-10-02', U&'caf\\00e9')",
    )
    databases.sync(dataset(), DAY)
    assert run(databases.target, "SELECT note FROM orders") == [("café",)]


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_the_read_uses_an_index_on_the_day(databases: Databases, kind: str) -> None:
    run(
        databases.source,
        f"CREATE TABLE orders (id int, day {kind})",
        "INSERT INTO orders SELECT n, timestamp '2025-01-01' + n * interval '1 minute' "
        "FROM generate_series(0, 399999) n",
        "CREATE INDEX ON orders (day)",
        "ANALYZE orders",
    )
    assert databases.sync(dataset(), date(2025, 3, 1))[0].rows_read == 1440

    for _ in range(100):  # a session's statistics are updated shortly after it ends
        [(scans,)] = run(
            databases.source,
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE relname = 'orders'",
        )
        if scans:
            break
        time.sleep(0.1)
    assert scans == 1


def test_a_large_day_needs_little_memory(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (day date, filler text)",
        "INSERT INTO orders SELECT '2025-10-02', repeat('x', 1000) FROM generate_series(1, 60000)",
    )
    tracemalloc.start()
    try:
        [loaded] = databases.sync(dataset(), DAY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert loaded.bytes > 60_000_000
    assert peak < 8_000_000


def test_the_source_connection_is_read_only(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (day date)",
        "CREATE FUNCTION spoil() RETURNS date LANGUAGE plpgsql VOLATILE AS "
        "$$ BEGIN INSERT INTO orders VALUES ('2025-10-02'); RETURN '2025-10-02'; END $$",
    )
    with pytest.raises(Exception, match="read-only transaction"):
        databases.sync(dataset(query="SELECT spoil() AS day"), DAY)


def test_a_timestamptz_keeps_its_instant_and_microseconds(databases: Databases) -> None:
    run(
        databases.source,
        "CREATE TABLE orders (day timestamptz)",
        "INSERT INTO orders VALUES ('2025-10-02 10:00:00.123456+08')",
    )
    databases.sync(dataset(), DAY)
    assert run(databases.target, "SELECT day FROM orders") == [
        (datetime(2025, 10, 2, 2, 0, 0, 123456, tzinfo=timezone.utc),)
    ]
