"""The record list (filters, sort orders, pages, cursors), record details, and coverage."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, LIST, Client

pytestmark = pytest.mark.integration

_DAYS = """
INSERT INTO daily_sync_status (sync_date, status, dataset, kind, start_time, end_time, remarks,
    total_records, success_count, error_message)
SELECT '2025-01-01'::date + n, s, d, 'day', t,
    CASE WHEN s <> 'syncing' THEN t + n * interval '1 s' END,
    '单日同步: ' || ('2025-01-01'::date + n), n, n,
    CASE WHEN s = 'failed' THEN 'disk full, 100%' END
FROM generate_series(0, 59) AS n, unnest(ARRAY['orders', 'events']) AS d,
LATERAL (SELECT timestamptz '2025-06-01 00:00Z' + (n / 7) * interval '1 hour' AS t,
    CASE WHEN n % 10 = 3 THEN 'failed' WHEN n = 59 THEN 'syncing' ELSE 'success' END AS s) AS x
"""
_BATCHES = """
INSERT INTO daily_sync_status (sync_date, status, dataset, batch_key, start_date, end_date,
    total_days, success_count, kind, start_time, remarks)
SELECT '2025-01-05'::date + n * 10, 'success', 'orders', 'b' || n, '2025-01-01'::date + n * 10,
    '2025-01-10'::date + n * 10, 10, 10, 'batch', timestamptz '2025-06-02Z' + n * interval '1 min',
    '批量同步完成: ' || n
FROM generate_series(0, 5) AS n
"""


@pytest.fixture(scope="module")
def rows(module_database: str, alone: Client) -> Iterator[list[dict[str, Any]]]:
    """All records, read directly from the database."""
    helpers.run(module_database, _DAYS)
    helpers.run(module_database, _BATCHES)
    with closing(psycopg2.connect(module_database)) as connection:
        yield helpers.rows(connection, "SELECT * FROM daily_sync_status")


def ids(records: Any) -> list[int]:
    return [record["id"] for record in records]


def test_the_list_has_the_specified_envelope_and_every_column(
    alone: Client, rows: list[dict[str, Any]]
) -> None:
    data = alone.get(LIST, page=1, page_size=50).data
    assert (data["page"], data["page_size"], data["total"]) == (1, 50, len(rows))
    assert data["total_is_estimate"] is False
    assert len(data["records"]) == 50
    for record in data["records"]:
        (row,) = [row for row in rows if row["id"] == record["id"]]
        assert set(row) <= set(record)
        for column in ("id", "status", "remarks", "error_message", "duration_seconds", "change"):
            assert record[column] == row[column]
        assert record["sync_date"] == row["sync_date"].isoformat()


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({"dataset": "events"}, lambda r: r["dataset"] == "events"),
        ({"kind": "batch"}, lambda r: r["kind"] == "batch"),
        ({"kind": "day", "status": "failed"}, lambda r: r["status"] == "failed"),
        (
            {"status": ["failed", "syncing"], "dataset": "orders"},
            lambda r: r["status"] != "success" and r["dataset"] == "orders",
        ),
        (
            {"from_": "2025-01-10", "to": "2025-01-12"},
            lambda r: str(r["start_date"]) <= "2025-01-12" and str(r["end_date"]) >= "2025-01-10",
        ),
        ({"from_": "2025-02-20"}, lambda r: str(r["end_date"]) >= "2025-02-20"),
        ({"to": "2025-01-03"}, lambda r: str(r["start_date"]) <= "2025-01-03"),
        ({"q": "DISK"}, lambda r: r["status"] == "failed"),
        ({"q": "100%"}, lambda r: r["status"] == "failed"),
        ({"q": "1_0"}, lambda r: False),
        ({"q": "批量同步"}, lambda r: r["kind"] == "batch"),
        ({"dataset": "nobody's"}, lambda r: False),
    ],
)
def test_filters_return_exactly_the_matching_records(
    alone: Client, rows: list[dict[str, Any]], query: dict[str, Any], matches: Any
) -> None:
    data = alone.get(LIST, page_size=200, **query).data
    expected = {row["id"] for row in rows if matches(row)}
    assert set(ids(data["records"])) == expected
    assert data["total"] == len(expected)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", ["start_time", "sync_date", "id", "duration_seconds"])
def test_pages_and_cursors_return_every_record_once_in_every_order(
    alone: Client, rows: list[dict[str, Any]], key: str, descending: bool
) -> None:
    def sort_key(row: dict[str, Any]) -> tuple[Any, int]:
        return (-1 if row[key] is None else row[key], row["id"])

    expected = ids(sorted(rows, key=sort_key, reverse=descending))
    sort = f"-{key}" if descending else key
    by_page: list[int] = []
    for number in (1, 2, 3):
        by_page += ids(alone.get(LIST, sort=sort, page=number, page_size=50).data["records"])
    assert by_page == expected
    by_cursor: list[int] = []
    after = None
    while True:
        data = alone.get(LIST, sort=sort, page_size=17, after=after).data
        by_cursor += ids(data["records"])
        after = data["next"]
        if after is None:
            break
    assert by_cursor == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"page": 0}, "page"),
        ({"page": 51, "page_size": 200}, "page"),
        ({"page_size": 201}, "page_size"),
        ({"status": "done"}, "status"),
        ({"sort": "remarks"}, "sort"),
        ({"kind": "week"}, "kind"),
        ({"from_": "2025-13-01"}, "from"),
        ({"to": "yesterday"}, "to"),
        ({"q": "x" * 101}, "q"),
        ({"q": "\0"}, "q"),
        ({"after": "AAAA"}, "after"),
        ({"after": "é"}, "after"),
        ({"after": "WyJpZCIsMSwxXQ"}, "after"),  # a cursor for another sort order
        ({"dateset": "orders"}, "dateset"),
    ],
)
def test_the_problem_names_the_invalid_query_parameter(
    alone: Client, query: dict[str, Any], field: str
) -> None:
    problem = alone.get(LIST, **query).problem
    assert problem["status"] == 422
    assert problem.get("field", field) == field
    assert field in problem["detail"]


def test_a_record_is_returned_with_its_days_and_all_attempts(
    alone: Client, module_database: str, rows: list[dict[str, Any]]
) -> None:
    (batch_id,) = helpers.run(
        module_database, "SELECT id FROM daily_sync_status WHERE batch_key = 'b0'"
    )[0]
    helpers.run(
        module_database,
        "INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, attempt, superseded,"
        " error_message, started_at, ended_at) VALUES"
        f" ('orders', '2025-01-01', {batch_id}, 'failed', 1, true, 'disk full', now(), now()),"
        f" ('orders', '2025-01-01', {batch_id}, 'success', 2, false, NULL, now(), now())",
    )
    detail = alone.get(f"{BASE}/sync-status/{batch_id}").data
    assert [(day["sync_date"], day["state"], day["attempt"]) for day in detail["days"]] == [
        ("2025-01-01", "success", 2)
    ]
    assert [(a["attempt"], a["superseded"]) for a in detail["attempts"]] == [(2, False), (1, True)]
    (day_id,) = helpers.run(
        module_database,
        "SELECT id FROM daily_sync_status WHERE kind = 'day' AND dataset = 'orders'"
        " AND sync_date = '2025-01-01'",
    )[0]
    detail = alone.get(f"{BASE}/sync-status/{day_id}").data
    assert detail["days"] == []
    assert {a["batch_id"] for a in detail["attempts"]} == {batch_id}


def test_a_range_of_a_batchs_days_can_be_read(
    alone: Client, module_database: str, rows: list[dict[str, Any]]
) -> None:
    (batch_id,) = helpers.run(
        module_database, "SELECT id FROM daily_sync_status WHERE batch_key = 'b1'"
    )[0]
    helpers.run(
        module_database,
        "INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, attempt, superseded,"
        " error_message, started_at, ended_at) VALUES"
        f" ('orders', '2025-01-12', {batch_id}, 'failed', 1, true, 'disk full', now(), now()),"
        f" ('orders', '2025-01-12', {batch_id}, 'success', 2, false, NULL, now(), now()),"
        f" ('orders', '2025-01-13', {batch_id}, 'success', 1, false, NULL, now(), now()),"
        f" ('orders', '2025-01-14', {batch_id}, 'success', 1, false, NULL, now(), now())",
    )
    address = f"{BASE}/sync-status/{batch_id}/days"
    part = alone.get(address, from_="2025-01-12", to="2025-01-13").data
    assert part["record"]["id"] == batch_id
    assert [day["sync_date"] for day in part["days"]] == ["2025-01-12", "2025-01-13"]
    assert [(a["sync_date"], a["superseded"]) for a in part["attempts"]] == [
        ("2025-01-13", False),
        ("2025-01-12", False),
        ("2025-01-12", True),
    ]
    assert alone.get(address, from_="2025-01-12").problem["field"] == "to"
    nowhere = f"{BASE}/sync-status/999999/days"
    assert alone.get(nowhere, from_="2025-01-12", to="2025-01-13").status == 404


def test_an_unknown_record_is_not_found(alone: Client) -> None:
    problem = alone.get(f"{BASE}/sync-status/999999").problem
    assert problem["status"] == 404
    assert "record 999999 not found" in problem["detail"]


def test_superseded_attempts_are_preferred_if_a_batch_has_many(
    alone: Client, module_database: str, rows: list[dict[str, Any]]
) -> None:
    (batch_id,) = helpers.run(
        module_database, "SELECT id FROM daily_sync_status WHERE batch_key = 'b2'"
    )[0]
    columns = "(dataset, sync_date, batch_id, state, superseded, error_message, ended_at)"
    for state, count in (("true", 3), ("false", 1100)):
        helpers.run(
            module_database,
            f"INSERT INTO sync_attempt {columns} SELECT 'orders', '2000-01-01'::date + n,"
            f" {batch_id}, 'failed', {state}, 'disk full', now()"
            f" FROM generate_series(1, {count}) AS n",
        )
    detail = alone.get(f"{BASE}/sync-status/{batch_id}").data
    assert len(detail["days"]) == 1100
    assert len(detail["attempts"]) == 1000
    assert [a["superseded"] for a in detail["attempts"]] == [False] * 997 + [True] * 3


def test_coverage_returns_every_days_state_without_dagster(
    alone: Client, module_database: str, rows: list[dict[str, Any]]
) -> None:
    helpers.run(
        module_database,
        "UPDATE daily_sync_status SET success_count = 3, failed_count = 1"
        " WHERE kind = 'day' AND dataset = 'orders' AND sync_date = '2025-01-05'",
    )
    query = {"dataset": "orders", "from_": "2024-12-31", "to": "2025-03-02"}
    data = alone.get(f"{BASE}/sync-status/coverage", **query).data
    states = {day["day"]: day["state"] for day in data["days"]}
    assert len(states) == 62
    assert (data["first_day"], data["last_day"]) == ("2025-01-01", "2025-03-01")
    assert states["2024-12-31"] == states["2025-03-02"] == "outside"
    assert states["2025-01-01"] == "empty"
    assert states["2025-01-02"] == "success"
    assert states["2025-01-04"] == "failed"
    assert states["2025-03-01"] == "syncing"
    assert (states["2025-01-05"], data["counts"]["rejected"]) == ("rejected", 1)
    (rejected,) = [day for day in data["days"] if day["state"] == "rejected"]
    assert (rejected["rows"], rejected["rows_rejected"]) == (3, 1)
    assert data["counts"]["failed"] == 6
    changes = {row["id"]: row["change"] for row in rows}
    changes[rejected["record_id"]] = alone.get(f"{BASE}/sync-status/{rejected['record_id']}").data[
        "record"
    ]["change"]
    assert rejected["change"] > max(row["change"] for row in rows)
    for day in data["days"]:
        assert day["change"] == changes.get(day["record_id"])
    assert sum(data["counts"].values()) == 62


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({"dataset": "orders", "from_": "2020-01-01", "to": "2025-01-01"}, 422, "to"),
        ({"dataset": "orders", "from_": "2025-01-02", "to": "2025-01-01"}, 422, "to"),
        ({"dataset": "orders", "to": "0001-01-02"}, 422, "from"),
        ({"dataset": "unknown"}, 404, "dataset"),
        ({"dataset": "Orders'; --"}, 422, "dataset"),
    ],
)
def test_invalid_coverage_ranges_are_rejected(
    alone: Client, rows: list[dict[str, Any]], query: dict[str, Any], status: int, field: str
) -> None:
    problem = alone.get(f"{BASE}/sync-status/coverage", **query).problem
    assert (problem["status"], problem["field"]) == (status, field)
