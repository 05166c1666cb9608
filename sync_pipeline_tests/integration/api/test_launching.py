"""Launch and preview batches over the API on a real Dagster instance."""

from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sync_pipeline.api.runs import runs_of
from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, PREVIEW, Client, body
from sync_pipeline_tests.integration.api.conftest import UNREACHABLE, server_on, wired
from sync_pipeline_tests.integration.helpers import at_once
from sync_pipeline_tests.integration.shared_stack import HISTORY_DAYS, HISTORY_START
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("count", "priority"), [(7, ["1"]), (8, [])])
def test_only_a_batch_of_up_to_7_days_has_a_higher_priority_than_backfills(
    api: Client, stack: Stack, count: int, priority: list[str]
) -> None:
    launched = api.post(LAUNCH, body(days(date(2025, 8, 13), count))).data
    assert api.wait_for(launched["record_id"], "success", "failed")["status"] == "success"
    statement = "SELECT value FROM dagster.run_tags WHERE run_id = %s AND key = 'dagster/priority'"
    assert [tag["value"] for tag in stack.target(statement, [launched["run_id"]])] == priority


def test_a_launched_batch_is_syncing_immediately_and_succeeds_under_one_record(
    api: Client, stack: Stack
) -> None:
    batch_days = days(date(2025, 6, 1), 5)
    response = api.post(LAUNCH, body(batch_days))
    assert response.status == 202
    data = response.data
    record = data["record"]
    assert (record["status"], record["remarks"]) == (
        "syncing",
        f"批量同步: {batch_days[0]} 至 {batch_days[-1]}, 共5天",
    )
    assert record["triggered_by"] == "local, API"
    assert data["dagster_url"] == f"{stack.dagster.url}/runs/{data['run_id']}"
    ended = api.wait_for(data["record_id"], "success", "failed")
    assert (ended["status"], ended["success_count"]) == ("success", 5)
    assert ended["total_records"] == 5 * ROWS_PER_DAY
    assert (ended["run_id"], ended["dagster_url"]) == (
        data["run_id"],
        data["dagster_url"],
    )
    assert (ended["done_days"], ended["percent"]) == (5, 100.0)
    assert len(stack.batches(data["batch_key"])) == 1
    assert stack.differing_days("orders", batch_days) == []
    attempts = stack.attempts(data["record_id"])
    assert {attempt["triggered_by"] for attempt in attempts} == {"local, API"}


def test_a_batch_can_have_thousands_of_days(api: Client) -> None:
    request = body(days(HISTORY_START, HISTORY_DAYS), dataset="history")
    preview = api.post(PREVIEW, request).data
    assert preview["days"]["to_sync"] == preview["days"]["total"] == HISTORY_DAYS
    launched = api.post(LAUNCH, request)
    assert launched.status == 202
    assert launched.data["record"]["total_days"] == HISTORY_DAYS
    cancel = f"{BASE}/sync-status/{launched.data['record_id']}/cancel"
    assert api.post(cancel).status == 202
    ended = api.wait_for(launched.data["record_id"], "failed")
    assert ended["success_count"] + ended["failed_count"] == HISTORY_DAYS
    assert ended["remarks"] == "批量同步失败: cancelled by local over the API"


def test_a_key_launches_once_and_cannot_be_reused_for_a_different_request(
    api: Client, stack: Stack
) -> None:
    batch_days = days(date(2025, 6, 11), 2)
    key = f"key-{uuid4()}"
    first = api.post(LAUNCH, body(batch_days), Idempotency_Key=key)
    second = api.post(LAUNCH, body(batch_days), Idempotency_Key=key)
    assert (first.status, second.status) == (202, 200)
    for name in ("record_id", "batch_key", "run_id", "dagster_url"):
        assert first.data[name] == second.data[name]
    other = api.post(LAUNCH, body(batch_days, already_synced="resync"), Idempotency_Key=key).problem
    assert (other["status"], other["field"]) == (409, "Idempotency-Key")
    ended = api.wait_for(first.data["record_id"], "success")
    third = api.post(LAUNCH, body(batch_days), Idempotency_Key=key)
    assert (third.status, third.data["record"]["id"]) == (200, ended["id"])
    assert len(stack.batches(first.data["batch_key"])) == 1


def test_concurrent_requests_with_one_key_launch_once(api: Client, stack: Stack) -> None:
    batch_days = days(date(2025, 10, 21), 2)
    key = f"key-{uuid4()}"
    responses = at_once([lambda: api.post(LAUNCH, body(batch_days), Idempotency_Key=key)] * 4)
    assert sorted(response.status for response in responses) == [200, 200, 200, 202]
    assert len({(a.data["record_id"], a.data["run_id"]) for a in responses}) == 1
    record = api.wait_for(responses[0].data["record_id"], "success")
    assert len(runs_of(stack.dagster, record["batch_key"])) == 1


def test_a_launch_that_cannot_reach_dagster_is_closed_as_not_run_and_can_be_repeated(
    stack: Stack, tmp_path: Path
) -> None:
    batch_days = days(date(2025, 9, 1), 2)
    with wired(stack, tmp_path) as (to_dagster, client):
        assert len(client.get(f"{BASE}/datasets").data["datasets"]) == 4
        to_dagster.cut = True
        problem = client.post(LAUNCH, body(batch_days), Idempotency_Key="later").problem
        assert problem["status"] == 503
        assert "does not respond" in problem["detail"]
        query = "SELECT * FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s"
        (record,) = stack.target(query, batch_days[:1])
        assert record["status"] == "failed"
        assert "None was run" in record["error_message"]
        assert record["remarks"].startswith(f"批量同步失败: Dagster at {to_dagster.url} does not")
        to_dagster.cut = False
        repeated = client.post(LAUNCH, body(batch_days), Idempotency_Key="later")
        assert (repeated.status, repeated.data["record_id"]) == (202, record["id"])
        wait_until(lambda: stack.batch(record["batch_key"])["status"] == "success")
    assert stack.differing_days("orders", batch_days) == []


def test_without_dagster_records_can_be_read_but_not_launched(stack: Stack, tmp_path: Path) -> None:
    before = len(stack.batches())
    with server_on(stack.settings.database_url, tmp_path) as client:
        problem = client.post(LAUNCH, body(days(date(2025, 9, 5), 2))).problem
        assert problem["status"] == 503
        assert f"Dagster at {UNREACHABLE} does not respond" in problem["detail"]
        assert client.get(f"{BASE}/sync-status/list").status == 200
        ready = client.get("/readyz")
        assert (ready.status, ready.json["dagster"][:16]) == (200, "does not respond")
    assert len(stack.batches()) == before


@pytest.mark.parametrize(
    ("request_body", "field", "message"),
    [
        (
            {"dataset": "orders", "start_date": "2025-01-03", "end_date": "2025-01-01"},
            "start_date",
            "the range 2025-01-03 to 2025-01-01 is reversed; put the earlier date first",
        ),
        (
            {"dataset": "orders", "start_date": "2023-12-31", "end_date": "2024-01-01"},
            "start_date",
            "dataset orders: 2023-12-31 is before its first day 2024-01-01; start at 2024-01-01",
        ),
        (
            {"dataset": "orders", "start_date": "2025-12-31", "end_date": "2026-01-01"},
            "end_date",
            "2026-01-01 cannot be synced: the dataset's end_date is 2025-12-31; end at 2025-12-31",
        ),
        (
            {"start_date": "2025-01-01", "end_date": "2025-01-01"},
            "dataset",
            "several datasets exist; name one of: deliveries, events, history, orders",
        ),
        (
            {"dataset": "invoices", "start_date": "2025-01-01", "end_date": "2025-01-01"},
            "dataset",
            "dataset 'invoices' not found; known datasets: deliveries, events, history, orders",
        ),
        (
            {"dataset": "orders", "start_date": "2025-1-1", "end_date": "2025-01-01"},
            "start_date",
            "'2025-1-1' is not a date; use YYYY-MM-DD, for example 2025-10-01",
        ),
        ({"dataset": "orders", "start_date": "2025-01-01"}, "end_date", "is required"),
        (
            {"dataset": "orders", "start_date": "2025-01-01", "end_date": "2025-01-01", "x": 1},
            "x",
            "unknown name",
        ),
    ],
)
def test_an_invalid_launch_is_rejected_with_its_field_and_writes_nothing(
    api: Client, stack: Stack, request_body: dict[str, Any], field: str, message: str
) -> None:
    before = len(stack.batches())
    problem = api.post(LAUNCH, request_body).problem
    assert (problem["status"], problem["field"]) == (422, field)
    assert message in problem["detail"]
    # The page inserts these values into its translations.
    assert all(str(value) in problem["detail"] for value in problem["params"].values())
    assert len(stack.batches()) == before


def test_a_preview_returns_synced_skipped_and_refused_days_and_writes_nothing(
    api: Client, stack: Stack
) -> None:
    batch_days = days(date(2025, 9, 11), 6)
    record_id = api.post(LAUNCH, body(batch_days[2:4])).data["record_id"]
    api.wait_for(record_id, "success")
    before = stack.batches()
    skip = api.post(PREVIEW, body(batch_days)).data
    assert skip["days"] == {"total": 6, "to_sync": 4, "skipped": 2, "refused": 0}
    assert skip["ranges"]["skipped"] == [[str(batch_days[2]), str(batch_days[3])]]
    assert skip["ranges"]["to_sync"] == [
        [str(batch_days[0]), str(batch_days[1])],
        [str(batch_days[4]), str(batch_days[5])],
    ]
    resync = api.post(PREVIEW, body(batch_days, already_synced="resync")).data
    assert resync["days"] == {"total": 6, "to_sync": 6, "skipped": 0, "refused": 0}
    refused = api.post(PREVIEW, body([date(2023, 12, 30), date(2024, 1, 2)])).data
    assert refused["days"] == {"total": 4, "to_sync": 0, "skipped": 0, "refused": 4}
    assert "before its first day" in refused["refused_because"]
    assert (refused["field"], refused["code"]) == ("start_date", "before_first_day")
    assert refused["params"] == {
        "dataset": "orders",
        "day": "2023-12-30",
        "first_day": "2024-01-01",
    }
    assert stack.batches() == before


def test_the_datasets_match_their_definitions(api: Client) -> None:
    deliveries, events, _, orders = api.get(f"{BASE}/datasets").data["datasets"]
    assert (events["name"], orders["name"]) == ("events", "orders")
    assert (deliveries["name"], deliveries["source"]) == ("deliveries", "{day}.csv")
    assert (orders["first_day"], orders["last_day"]) == ("2024-01-01", "2025-12-31")
    assert (orders["source"], orders["target"]) == ("orders_source", "orders")


def test_a_batch_from_a_files_source_can_be_launched(api: Client, stack: Stack) -> None:
    response = api.post(LAUNCH, body(days(date(2025, 6, 1), 1), dataset="deliveries"))
    assert response.status == 202
    ended = api.wait_for(response.data["record_id"], "success", "failed")
    assert (ended["status"], ended["error_message"], ended["total_records"]) == ("success", None, 2)
