"""Days are read from MariaDB in the right time zone, from one snapshot, with bounded memory."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
import yaml

from sync_pipeline.settings import PROJECT_ROOT
from sync_pipeline.sources.arrow.source import ArrowReader
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sources.sql.source import SqlRows
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing
from sync_pipeline_tests.integration.sources.mariadb import MariaDb

pytestmark = pytest.mark.integration

SOURCE = {"type": "sql", "url_env": "SHOP_URL", "day_column": "day"}
TABLE = SOURCE | {"table": "t"}
MEGABYTE = 1024 * 1024


def open_rows(syncing: Syncing, source: dict[str, Any]) -> SqlRows:
    dataset = syncing.dataset(source)
    keys: Any = dataset.source
    return SqlRows(dataset, keys, syncing.settings["SHOP_URL"])


@contextmanager
def call_after(part: str, callback: Any) -> Iterator[None]:
    """During the block, call `callback` after the first statement that contains `part`."""
    done: list[str] = []

    def after_execute(*arguments: Any) -> None:
        if part in arguments[2] and not done:
            done.append(part)
            callback()

    sa.event.listen(sa.Engine, "after_cursor_execute", after_execute)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", after_execute)
    assert done


def test_a_sync_replaces_only_its_day(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run(
        "CREATE TABLE t (id int, day date)",
        "INSERT INTO t VALUES (1, '2025-10-01'), (2, '2025-10-02'), (3, NULL), (4, '2025-09-30')",
    )
    syncing.sync(TABLE, [DAY, NEXT_DAY])
    mariadb.run("DELETE FROM t WHERE id = 1")
    (done,) = syncing.sync(TABLE)
    assert done.outcome is Outcome.SUCCESS
    assert syncing.rows("SELECT id, day FROM landed") == [(2, NEXT_DAY)]


@pytest.mark.parametrize("origin", [{"table": "t"}, {"query": "SELECT * FROM t"}], ids=str)
def test_instants_are_converted_to_the_datasets_time_zone_and_local_times_are_not(
    mariadb: MariaDb, syncing: Syncing, origin: dict[str, str]
) -> None:
    # The server's time zone is five hours ahead of UTC.
    mariadb.run(
        "CREATE TABLE t (id int, at timestamp(6) NULL, local datetime(6))",
        "SET time_zone = '+00:00'",
        "INSERT INTO t VALUES (1, '2025-09-30 15:59:59.999999', '2025-09-30 23:59:59.999999'),"
        "(2, '2025-09-30 16:00:00', '2025-10-01'), "
        "(3, '2025-10-01 15:59:59.999999', '2025-10-01 23:59:59.999999'),"
        "(4, '2025-10-01 16:00:00', '2025-10-02')",
    )
    for column, kind in (("at", "with"), ("local", "without")):
        source = SOURCE | origin | {"day_column": column}
        (done,) = syncing.sync(source, timezone="Asia/Shanghai", target={"table": column})
        assert done.outcome is Outcome.SUCCESS, done.error
        assert syncing.rows(f"SELECT id FROM {column} ORDER BY id") == [(2,), (3,)]
        types = syncing.rows(f"SELECT pg_typeof({column})::text FROM {column} LIMIT 1")
        assert types == [(f"timestamp {kind} time zone",)]
    (first,) = syncing.rows("SELECT at AT TIME ZONE 'UTC', local FROM at WHERE id = 2")
    assert first == tuple(map(datetime.fromisoformat, ("2025-09-30 16:00:00", "2025-10-01")))


def test_the_count_and_the_rows_are_read_from_one_snapshot(
    mariadb: MariaDb, syncing: Syncing
) -> None:
    mariadb.run("CREATE TABLE t (id int, day date) ENGINE InnoDB")
    mariadb.run("INSERT INTO t SELECT seq, '2025-10-01' FROM seq_1_to_1000")
    late = "INSERT INTO t VALUES (0, '2025-10-01')"
    rows = open_rows(syncing, TABLE)
    with call_after("count(", lambda: mariadb.run(late)):
        found = sum(batch.num_rows for batch in rows.read(DAY))
    assert (rows.source_count(), found) == (1000, 1000)
    assert sum(batch.num_rows for batch in rows.read(DAY)) == rows.source_count() == 1001
    rows.close()


def test_count_false_disables_the_count(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run("CREATE TABLE t (id int, day date)")
    rows = open_rows(syncing, TABLE | {"count": False})
    assert (list(rows.read(DAY)), rows.source_count()) == ([], None)
    rows.close()


def test_a_query_is_executed_unchanged(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run("CREATE TABLE t (id int, day date)", "INSERT INTO t VALUES (1, '2025-10-01')")
    query = (
        "SELECT id, day, ':x %s %% 10:30' AS a, '\\\\:y' AS b, SUM(id) AS `order`, id / 3 AS c\n"
        "FROM t GROUP BY 1, 2 -- a comment"
    )
    (done,) = syncing.sync(SOURCE | {"query": query})
    assert done.outcome is Outcome.SUCCESS, done.error
    (row,) = syncing.rows("SELECT * FROM landed")
    assert [str(value) for value in row[2:]] == [":x %s %% 10:30", "\\:y", "1", "0.3333"]


def test_columns_can_be_chosen_and_their_types_declared(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run(
        "CREATE TABLE t (id int, day date, paid tinyint(1), note json, bit bit(1), "
        "took time, place inet6, secret point)",
        "INSERT INTO t VALUES (1, '2025-10-01', 1, '{\"a\": 1}', 1, '23:59:59', '::1', NULL)",
    )
    types = {"paid": "boolean", "note": "jsonb", "bit": "boolean", "took": "time", "place": "inet"}
    columns = ["day", "id", "place", "paid", "note", "bit", "took"]
    (done,) = syncing.sync(TABLE | {"columns": columns, "types": types})
    assert done.outcome is Outcome.SUCCESS, done.error
    assert list(syncing.types()) == columns
    assert syncing.rows("SELECT paid, note, bit, took::text, place FROM landed") == [
        (True, {"a": 1}, True, "23:59:59", "::1")
    ]


def test_a_day_is_not_ready_until_the_ready_query_returns_true(
    mariadb: MariaDb, syncing: Syncing
) -> None:
    mariadb.run(
        "CREATE TABLE t (id int, day date)",
        "CREATE TABLE loaded (day date, ok decimal(3,1), at varchar(9))",
        "INSERT INTO loaded VALUES ('2025-10-02', 1, '10:30')",
    )
    source = TABLE | {
        "ready_query": "SELECT ok FROM loaded WHERE day = %(day)s AND at LIKE '10:3%%'"
    }
    none, after = syncing.sync(source, [DAY, NEXT_DAY])
    assert "the source is not ready for 2025-10-01: ready_query returned no row" in (
        none.error or ""
    )
    assert after.outcome is Outcome.SUCCESS
    for value in ("0.0", "NULL"):
        mariadb.run(
            "DELETE FROM loaded", f"INSERT INTO loaded VALUES ('2025-10-01', {value}, '10:30')"
        )
        (done,) = syncing.sync(source)
        assert "is not ready for 2025-10-01: ready_query returned" in (done.error or "")
    (done,) = syncing.sync(TABLE | {"ready_query": "SELECT 'x' LIKE '%x'"})
    assert "%(day)s is the only parameter allowed in ready_query; write any other % as %%" in (
        done.error or ""
    )


def test_memory_does_not_grow_with_the_number_of_rows(mariadb: MariaDb, syncing: Syncing) -> None:
    query = (
        "SELECT seq AS id, CAST('2025-10-01' AS date) AS day, seq / 7 AS share, "
        "CONCAT('row number ', seq) AS note FROM seq_1_to_{}"
    )

    def peak_memory(rows: int) -> int:
        dataset = syncing.dataset(SOURCE | {"query": query.format(rows), "count": False})
        keys: Any = dataset.source
        reader = ArrowReader(dataset, SqlRows(dataset, keys, syncing.settings["SHOP_URL"]))
        sink = MemorySink()
        assert reader.read_day(DAY, sink, CopyFormat.BINARY) == rows
        reader.close()
        return sink.peak_bytes

    small = peak_memory(100_000)
    assert peak_memory(700_000) - small < 64 * MEGABYTE


def test_wide_rows_are_fetched_in_small_batches(mariadb: MariaDb, syncing: Syncing) -> None:
    query = "SELECT CAST('2025-10-01' AS date) AS day, REPEAT('x', 1000000) AS x FROM seq_1_to_500"
    rows = open_rows(syncing, SOURCE | {"query": query})
    sizes = [batch.num_rows for batch in rows.read(DAY)]
    rows.close()
    assert (sizes[:3], sum(sizes), max(sizes)) == ([1, 4, 8], 500, 8)


class MemorySink(io.RawIOBase):
    """Discards its input. `peak_bytes` is the process's highest memory use at any write."""

    peak_bytes = 0

    def write(self, data: Any) -> int:
        self.peak_bytes = max(self.peak_bytes, psutil.Process().memory_info().rss)
        return len(data)


def test_the_documented_example_runs(mariadb: MariaDb, syncing: Syncing) -> None:
    page = (PROJECT_ROOT / "docs/sources/sql.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    example = yaml.safe_load(block)
    assert example["type"] == "sync_pipeline.DailySync"
    mariadb.run(
        "CREATE TABLE orders (id int, created_at timestamp, amount decimal(9,2), paid tinyint(1))",
        "CREATE TABLE loads (loaded_day date)",
        "SET time_zone = '+00:00'",
        "INSERT INTO orders VALUES (1, '2025-09-30 16:00:00', 9.9, 1)",
        "INSERT INTO loads VALUES ('2025-10-01')",
    )
    attributes = example["attributes"]
    done, after = syncing.sync(days=[DAY, NEXT_DAY], **attributes)
    assert done.outcome is Outcome.SUCCESS, done.error
    assert "the source is not ready for 2025-10-02" in (after.error or "")
    assert syncing.rows("SELECT id, amount::text, paid FROM shop_orders") == [(1, "9.90", True)]


def test_a_charset_in_the_url_does_not_lose_characters(mariadb: MariaDb, syncing: Syncing) -> None:
    mariadb.run(
        "CREATE TABLE t (day date, a text) CHARSET utf8mb4",
        "INSERT INTO t VALUES ('2025-10-01', '😀')",
    )
    syncing.settings["SHOP_URL"] += "&charset=latin1"
    syncing.sync(TABLE)
    assert syncing.rows("SELECT a FROM landed") == [("😀",)]
