"""The database rejects invalid states from any client and names the violated constraint."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from psycopg2 import sql

from sync_pipeline_tests.integration.helpers import execute, rows

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

NOW = "2025-10-11T00:00Z"
FIRST = 1000  # the ID of both the existing batch and the existing attempt
DAY: dict[str, Any] = {
    "dataset": "orders",
    "kind": "day",
    "sync_date": "2025-10-05",
    "status": "success",
    "total_records": 10,
    "success_count": 9,
    "failed_count": 1,
    "remarks": "单日同步完成",
}
BATCH: dict[str, Any] = {
    "dataset": "orders",
    "kind": "batch",
    "batch_key": "key",
    "sync_date": "2025-10-02",
    "start_date": "2025-10-01",
    "end_date": "2025-10-03",
    "total_days": 3,
    "status": "success",
    "success_count": 2,
    "skipped_count": 1,
    "remarks": "批量同步完成: …",
}
SYNCED: dict[str, Any] = {
    "dataset": "orders",
    "sync_date": "2025-10-01",
    "state": "success",
    "attempt": 1,
    "rows_read": 10,
    "rows_loaded": 9,
    "rows_rejected": 1,
    "started_at": NOW,
    "ended_at": NOW,
}
SYNCING = SYNCED | {"state": "syncing", "ended_at": None}
FAILED = SYNCED | {"state": "failed", "error_message": "disk full"}
PENDING = {"dataset": "orders", "sync_date": "2025-10-01", "batch_id": FIRST, "state": "pending"}

RECORDS: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
    ("pkey", BATCH, {"id": FIRST, "batch_key": "another"}),
    ("status_known", DAY, {"status": "done", "end_time": NOW}),
    ("status_known", DAY, {"status": "done"}),
    ("kind_known", DAY, {"kind": "week"}),
    ("already_synced_known", BATCH, {"already_synced": "overwrite"}),
    ("kind_in_remarks", DAY, {"remarks": "今天的批量同步失败"}),
    ("kind_in_remarks", BATCH, {"remarks": "单日同步完成", "total_days": 3}),
    ("kind_in_remarks", BATCH, {"remarks": None}),
    ("counts_not_negative", DAY, {"total_records": -1, "success_count": -2}),
    ("counts_not_negative", DAY, {"duration_seconds": -1}),
    ("counts_not_negative", BATCH, {"success_count": 4, "skipped_count": -1}),
    ("range_in_order", BATCH, {"sync_date": "2025-10-04"}),
    ("range_in_order", BATCH, {"start_date": "2025-10-03", "end_date": "2025-10-01"}),
    ("success_has_no_failure", BATCH, {"success_count": 1, "failed_count": 1}),
    ("batch_counts_add_up", BATCH, {"success_count": 1}),
    ("batch_counts_add_up", BATCH, {"status": "failed", "failed_count": 1}),
    ("batch_counts_add_up", BATCH, {"status": "syncing", "failed_count": 1}),
    ("day_counts_add_up", DAY, {"total_records": 11}),
    ("day_has_no_batch_key", DAY, {"batch_key": "a"}),
    ("standing_rows_of_day", DAY, {"attempt": 1, "standing_rows": 10}),
    ("standing_rows_of_day", DAY, {"attempt": 1, "standing_rows": -1, "standing_since": NOW}),
    ("standing_rows_of_day", BATCH, {"standing_rows": 10, "standing_since": NOW}),
    ("one_record_per_day", DAY, {"sync_date": "2025-10-01"}),
    ("one_record_per_batch", BATCH, {"batch_key": "opened"}),
]
ATTEMPTS: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
    ("of_batch", PENDING, {"batch_id": 99}),
    ("state_known", FAILED, {"state": "done", "error_message": None}),
    ("counts_not_negative", SYNCING, {"rows_rejected": -1}),
    ("counts_not_negative", SYNCING, {"bytes": -1}),
    ("every_row_accounted_for", SYNCED, {"rows_rejected": 0}),
    ("numbered_when_started", FAILED, {"attempt": None}),
    ("numbered_when_started", FAILED, {"started_at": None}),
    ("numbered_when_started", SYNCING, {"attempt": None, "started_at": None}),
    ("numbered_when_started", SYNCED, {"attempt": None, "started_at": None}),
    ("numbered_when_started", PENDING, {"attempt": 1, "started_at": NOW}),
    ("ended_when_over", SYNCED, {"ended_at": None}),
    ("ended_when_over", SYNCING, {"ended_at": NOW}),
    ("ended_when_over", PENDING, {"ended_at": NOW}),
    ("failure_says_why", FAILED, {"error_message": None}),
    ("failure_says_why", SYNCED, {"error_message": "disk full"}),
    ("waits_only_in_a_batch", PENDING, {"batch_id": None}),
    ("waits_only_in_a_batch", PENDING, {"state": "skipped", "ended_at": NOW, "batch_id": None}),
    ("pkey", PENDING, {"id": FIRST}),
    ("one_number_per_day", SYNCED, {"sync_date": "2025-10-03", "attempt": 3}),
    ("one_current_per_day_of_batch", PENDING, {"sync_date": "2025-10-02"}),
    ("one_syncing_per_day", SYNCING, {"sync_date": "2025-10-03", "attempt": 4}),
]
# `closed_has_end` is tested separately: a trigger sets the end time, so it cannot be violated.
CASES = [
    *[("daily_sync_status", *case) for case in RECORDS],
    *[("sync_attempt", *case) for case in ATTEMPTS],
]


@pytest.fixture
def connection(one_database: str) -> Iterator["Connection"]:
    """Yield a connection with uncommitted rows: a batch, a synced day and two open attempts."""
    with closing(psycopg2.connect(one_database)) as opened:
        insert(opened, "daily_sync_status", BATCH | {"id": FIRST, "batch_key": "opened"})
        insert(opened, "daily_sync_status", DAY | {"sync_date": "2025-10-01"})
        insert(opened, "sync_attempt", PENDING | {"id": FIRST, "sync_date": "2025-10-02"})
        insert(opened, "sync_attempt", SYNCING | {"sync_date": "2025-10-03", "attempt": 3})
        yield opened


def insert(connection: "Connection", table: str, values: Mapping[str, Any]) -> int:
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, dict(values))
        return cursor.rowcount


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("daily_sync_status", DAY),
        ("daily_sync_status", BATCH),
        ("daily_sync_status", BATCH | {"status": "syncing", "success_count": 0}),
        *[("sync_attempt", values) for values in (SYNCED, SYNCING, FAILED, PENDING)],
    ],
)
def test_a_valid_state_is_accepted(
    connection: "Connection", table: str, values: Mapping[str, Any]
) -> None:
    assert insert(connection, table, values) == 1


@pytest.mark.parametrize(
    ("table", "rule", "valid", "change"),
    CASES,
    ids=[f"{table}_{rule}" for table, rule, *_ in CASES],
)
def test_an_invalid_state_is_rejected_by_the_constraint_that_it_violates(
    connection: "Connection",
    table: str,
    rule: str,
    valid: Mapping[str, Any],
    change: Mapping[str, Any],
) -> None:
    with pytest.raises(psycopg2.IntegrityError) as rejected:
        insert(connection, table, {**valid, **change})
    assert rejected.value.diag.constraint_name == f"{table}_{rule}"


@pytest.mark.parametrize(
    "change", ["status = 'success', end_time = NULL", "status = 'syncing', end_time = now()"]
)
def test_the_end_time_is_set_when_a_record_is_closed_and_cleared_otherwise(
    connection: "Connection", change: str
) -> None:
    update = f"UPDATE daily_sync_status SET {change} WHERE id = 1000"
    execute(connection, update)
    (row,) = rows(connection, "SELECT status, end_time FROM daily_sync_status WHERE id = 1000")
    assert (row["status"] == "syncing") == (row["end_time"] is None)

    execute(connection, "ALTER TABLE daily_sync_status DISABLE TRIGGER daily_sync_status_fill")
    with pytest.raises(psycopg2.IntegrityError) as rejected:
        execute(connection, update)
    assert rejected.value.diag.constraint_name == "daily_sync_status_closed_has_end"


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *[("daily_sync_status", name) for name in ("sync_date", "status", "dataset")],
        *[("sync_attempt", name) for name in ("sync_date", "state", "dataset", "superseded")],
    ],
)
def test_required_columns_cannot_be_null(connection: "Connection", table: str, column: str) -> None:
    values = {"daily_sync_status": DAY, "sync_attempt": SYNCED}[table] | {column: None}
    with pytest.raises(psycopg2.errors.NotNullViolation) as rejected:
        insert(connection, table, values)
    assert rejected.value.diag.column_name == column


def test_every_constraint_of_the_tables_is_tested_here(connection: "Connection") -> None:
    named = rows(
        connection,
        """SELECT conname AS name FROM pg_constraint
           WHERE conrelid IN ('daily_sync_status'::regclass, 'sync_attempt'::regclass)
             AND contype <> 'n'
           UNION SELECT indexrelid::regclass::text FROM pg_index
           WHERE indrelid IN ('daily_sync_status'::regclass, 'sync_attempt'::regclass)
             AND indisunique""",
    )
    tested = {f"{table}_{rule}" for table, rule, *_ in CASES}
    assert {row["name"] for row in named} - tested == {"daily_sync_status_closed_has_end"}
