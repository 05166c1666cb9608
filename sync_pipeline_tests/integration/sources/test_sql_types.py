"""Values of every MariaDB type are loaded exactly, both from a table and from a query."""

import struct
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing
from sync_pipeline_tests.integration.sources.mariadb import MariaDb

pytestmark = pytest.mark.integration

UTC = timezone.utc
at = datetime.fromisoformat
TABLE = {"type": "sql", "url_env": "SHOP_URL", "table": "t", "day_column": "day"}
QUERY = {"type": "sql", "url_env": "SHOP_URL", "query": "SELECT * FROM t", "day_column": "day"}
LARGE = "9" * 35 + "." + "9" * 30
# The source column's type, the value to insert, and the value and type expected in the target.
EDGES: list[tuple[str, str, Any, str]] = [
    ("bigint unsigned", "18446744073709551615", Decimal(2**64 - 1), "numeric(20,0)"),
    ("bigint", "-9223372036854775808", -(2**63), "bigint"),
    ("int unsigned", "4294967295", 2**32 - 1, "bigint"),
    ("mediumint unsigned", "16777215", 2**24 - 1, "integer"),
    ("smallint unsigned", "65535", 65535, "integer"),
    ("tinyint unsigned", "255", 255, "smallint"),
    ("boolean", "-128", -128, "smallint"),
    ("decimal(65,30)", f"'{LARGE}'", Decimal(LARGE), "numeric(65,30)"),
    ("decimal(38,10)", f"-{'9' * 28}.0000000001", Decimal("-" + "9" * 28 + ".0000000001"), ""),
    ("decimal(5,0) unsigned", "99999", Decimal(99999), "numeric(5,0)"),
    ("float", "16777215", 16777215.0, "real"),
    ("float", "-3.4028234e38", -3.4028235e38, "real"),
    ("double", "1.7976931348623157e308", 1.7976931348623157e308, "double precision"),
    ("double", "0.1", 0.1, "double precision"),
    ("bit(1)", "1", True, "boolean"),
    ("bit(8)", "129", 129, "bigint"),
    ("bit(64)", "x'FFFFFFFFFFFFFFFF'", Decimal(2**64 - 1), "numeric(20,0)"),
    ("year", "2155", 2155, "smallint"),
    ("year", "0", 0, "smallint"),
    ("date", "'9999-12-31'", date(9999, 12, 31), "date"),
    ("datetime(6)", "'1000-01-01 23:59:59.999999'", at("1000-01-01 23:59:59.999999"), ""),
    ("datetime", "'2025-03-30 02:30:00'", at("2025-03-30 02:30:00"), ""),
    (
        "timestamp(6) null",
        "'1970-01-01 00:00:01.5'",
        at("1970-01-01 00:00:01.500000+00:00"),
        "",
    ),
    ("time", "'838:59:59'", timedelta(hours=838, minutes=59, seconds=59), "interval"),
    ("time(6)", "'-838:59:58.999999'", -timedelta(0, 3020398, 999999), "interval"),
    ("time", "'-00:00:01'", timedelta(seconds=-1), "interval"),
    ("char(3)", "'ab'", "ab", "text"),
    ("varchar(20)", "''", "", "text"),
    ("varchar(20)", r"'\\N'", "\\N", "text"),
    ("varchar(20) charset latin1", "'é'", "é", "text"),
    ("text", "'😀日\n\t\\\\'", "😀日\n\t\\", "text"),
    ("enum('a','','ü')", "'ü'", "ü", "text"),
    ("enum('a')", "'no'", "", "text"),
    ("set('x','y')", "'x,y'", "x,y", "text"),
    ("json", '\'{"a": [1, "😀"]}\'', '{"a": [1, "😀"]}', "text"),
    ("uuid", "'123e4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000", ""),
    ("blob", "x'00ff5c6e'", b"\x00\xff\\n", "bytea"),
    ("binary(3)", "'a'", b"a\0\0", "bytea"),
    ("varbinary(3)", "''", b"", "bytea"),
]


def to_bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.parametrize("source", [TABLE, QUERY], ids=["table", "query"])
def test_every_type_is_loaded_exactly_and_null_stays_null(
    mariadb: MariaDb, syncing: Syncing, source: dict[str, Any]
) -> None:
    columns = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(EDGES))
    values = ", ".join(value for _, value, *_ in EDGES)
    mariadb.run(
        f"CREATE TABLE t (day date, n int, {columns}) CHARSET utf8mb4",
        "SET time_zone = '+00:00'",
        f"INSERT INTO t VALUES ('2025-10-01', 1, {values})",
        "INSERT INTO t (day, n) VALUES ('2025-10-01', 2)",
    )
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.SUCCESS, done.error
    first, second = syncing.rows("SELECT * FROM landed ORDER BY n")
    types = list(syncing.types().values())[2:]
    for (kind, inserted, expected, expected_type), found, found_type in zip(
        EDGES, first[2:], types, strict=True
    ):
        assert to_bytes(found) == expected, (kind, inserted)
        if expected_type:
            assert found_type == expected_type, (kind, inserted)
    assert set(second[2:]) == {None}


STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "bigint unsigned": st.integers(0, 2**64 - 1),
    "decimal(65,30)": st.decimals(-(10**30), 10**30, places=30),
    "decimal(20,5)": st.decimals(-(10**14), 10**14, places=5),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
    "double": st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    "date": st.dates(date(1000, 1, 1)),
    "datetime(6)": st.datetimes(at("1000-01-01")),
    "timestamp(6) null": st.datetimes(at("1970-01-02"), at("2038-01-18")),
    "time(6)": st.timedeltas(timedelta(hours=-838), timedelta(hours=838)),
    "longtext": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "longblob": st.binary(max_size=200),
}


@given(data=st.data())
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_random_table_is_loaded_exactly(
    mariadb: MariaDb, syncing: Syncing, data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.sampled_from(list(STRATEGIES)), min_size=1, max_size=5))
    row = st.tuples(*[st.none() | STRATEGIES[kind] for kind in kinds])
    rows = data.draw(st.lists(row, max_size=12))
    names = ["order", "select", "Group", "日", 'a"%c:d'][: len(kinds)]
    columns = ", ".join(f"`{name}` {kind}" for name, kind in zip(names, kinds, strict=True))
    mariadb.run(
        "DROP TABLE IF EXISTS t", f"CREATE TABLE t (day date, id int, {columns}) CHARSET utf8mb4"
    )
    if rows:
        named = [dict(zip(names, values, strict=True)) for values in rows]
        mariadb.insert("t", [{"day": DAY, "id": n} | values for n, values in enumerate(named)])
    helpers.run(syncing.url, "DROP TABLE IF EXISTS landed")
    for source in (TABLE, QUERY):
        (done,) = syncing.sync(source)
        assert done.outcome is Outcome.SUCCESS, done.error
        found = [values[2:] for values in syncing.rows("SELECT * FROM landed ORDER BY id")]
        assert [normalize(values, kinds) for values in found] == rows


def normalize(values: tuple[Any, ...], kinds: list[str]) -> tuple[Any, ...]:
    """Convert values returned by the target's driver to the form in which they were generated."""
    normalized = []
    for value, kind in zip(values, kinds, strict=True):
        if value is not None and kind == "float":  # psycopg2 returns a double
            (value,) = struct.unpack("f", struct.pack("f", value))
        if value is not None and kind.startswith("timestamp"):
            value = value.astimezone(UTC).replace(tzinfo=None)
        normalized.append(to_bytes(value))
    return tuple(normalized)
