"""Cancel and retry batches over the API with a real Dagster instance, including concurrently."""

from datetime import date
from pathlib import Path

import pytest

from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.command import run, started
from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, Client, body
from sync_pipeline_tests.integration.api.conftest import wired
from sync_pipeline_tests.integration.helpers import at_once
from sync_pipeline_tests.stack_project import Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_a_retry_syncs_the_failed_day_under_the_same_record(api: Client, stack: Stack) -> None:
    batch_days = days(date(2025, 6, 21), 3)
    stack.spoil("orders", batch_days[1])
    launched = api.post(LAUNCH, body(batch_days)).data
    failed = api.wait_for(launched["record_id"], "failed")
    assert (failed["success_count"], failed["failed_count"]) == (2, 1)
    stack.repair("orders", batch_days[1])
    stack.pause("orders", batch_days, 2)
    retry = f"{BASE}/sync-status/{failed['id']}/retry"
    retried = api.post(retry)
    assert retried.status == 202
    assert retried.data["run_id"] != launched["run_id"]
    waiting = retried.data["record"]
    assert (waiting["status"], waiting["failed_count"], waiting["error_message"]) == (
        *("syncing", 0, None),
    )
    assert waiting["remarks"] == "批量同步进度: 2/3天, 成功2, 失败0, 跳过0"
    refused = api.post(retry).problem
    assert refused["status"] == 409
    assert (
        f"cancel it first with POST {BASE}/sync-status/{failed['id']}/cancel" in refused["detail"]
    )
    after = api.wait_for(failed["id"], "success")
    assert (after["success_count"], after["failed_count"]) == (3, 0)
    detail = api.get(f"{BASE}/sync-status/{failed['id']}").data
    assert [(a["state"], a["superseded"]) for a in detail["attempts"]].count(("failed", True)) == 1
    done = api.post(retry).problem
    assert done["status"] == 409
    assert "has no unfinished days" in done["detail"]
    assert f'POST {LAUNCH} and "already_synced": "resync"' in done["detail"]


def test_a_cancelled_batch_records_who_cancelled_it_and_can_be_retried(
    api: Client, stack: Stack
) -> None:
    batch_days = days(date(2025, 7, 1), 20)
    stack.pause("orders", batch_days, 0.4)
    record_id = api.post(LAUNCH, body(batch_days)).data["record_id"]
    wait_until(lambda: api.record(record_id)["success_count"] >= 2)
    cancelled = api.post(f"{BASE}/sync-status/{record_id}/cancel")
    assert cancelled.status == 202
    assert cancelled.data["record"]["cancelled_by"] == "local"
    ended = api.wait_for(record_id, "failed")
    assert ended["remarks"] == "批量同步失败: cancelled by local over the API"
    assert ended["success_count"] + ended["failed_count"] == 20
    # The day in progress may have been synced or cancelled, so the message varies.
    assert "not run: " in ended["error_message"].lower()
    kept = ended["success_count"]
    second = api.post(f"{BASE}/sync-status/{record_id}/cancel").problem
    assert second["status"] == 409
    stack.pause("orders", batch_days, 0)
    wait_until(lambda: api.post(f"{BASE}/sync-status/{record_id}/retry").status == 202)
    after = api.wait_for(record_id, "success")
    assert (after["success_count"], after["cancelled_by"]) == (20, None)
    states = [a["state"] for a in stack.attempts(record_id) if not a["superseded"]]
    assert states == ["success"] * 20
    assert kept < 20
    assert stack.differing_days("orders", batch_days) == []


def test_a_cancelled_batch_whose_days_are_all_running_says_who_cancelled_it(
    api: Client, stack: Stack
) -> None:
    (day,) = days(date(2025, 7, 25), 1)
    stack.pause("orders", [day], 30)
    record_id = api.post(LAUNCH, body([day])).data["record_id"]
    wait_until(lambda: [a["state"] for a in stack.attempts(record_id)] == ["syncing"])
    assert api.post(f"{BASE}/sync-status/{record_id}/cancel").status == 202
    api.wait_for(record_id, "failed")
    stack.pause("orders", [day], 0)
    reason = "cancelled by local over the API; the day was running and was rolled back"
    error = f"1 of 1 days failed: {day}. First: {day}: {reason}"
    wait_until(lambda: api.record(record_id)["error_message"] == error)


def test_a_retry_can_be_cancelled_before_its_run_starts(api: Client, stack: Stack) -> None:
    batch_days = days(date(2025, 10, 11), 2)
    stack.spoil("orders", batch_days[0])
    record_id = api.post(LAUNCH, body(batch_days)).data["record_id"]
    api.wait_for(record_id, "failed")
    stack.repair("orders", batch_days[0])
    # Reading is so slow that the test would time out if the run did start.
    stack.pause("orders", batch_days, 30)
    retried = api.post(f"{BASE}/sync-status/{record_id}/retry")
    cancelled = api.post(f"{BASE}/sync-status/{record_id}/cancel")
    assert (retried.status, cancelled.status) == (202, 202)
    ended = api.wait_for(record_id, "failed")
    assert (ended["cancelled_by"], ended["success_count"]) == ("local", 1)
    wait_until(lambda: stack.dagster.run_status(retried.data["run_id"]) in ("CANCELED", "FAILURE"))
    assert [a["superseded"] for a in stack.attempts(record_id)].count(True) == 1
    stack.pause("orders", batch_days, 0)
    assert api.post(f"{BASE}/sync-status/{record_id}/retry").status == 202
    assert api.wait_for(record_id, "success")["cancelled_by"] is None


def test_a_retry_that_does_not_reach_dagster_leaves_the_record_unchanged(
    stack: Stack, tmp_path: Path
) -> None:
    batch_days = days(date(2025, 10, 15), 2)
    with wired(stack, tmp_path) as (to_dagster, client):
        stack.spoil("orders", batch_days[0])
        record_id = client.post(LAUNCH, body(batch_days)).data["record_id"]
        before = client.wait_for(record_id, "failed")
        # The synced day may not have been reported to Dagster yet.
        wait_until(lambda: all(a["materialized_at"] for a in stack.attempts(record_id)[1:]))
        attempts = stack.attempts(record_id)
        stack.repair("orders", batch_days[0])
        to_dagster.drops = b"launchRun"
        # The API may still have to wait for the first run to end.
        problem = client.post(f"{BASE}/sync-status/{record_id}/retry").problem
        assert problem["status"] == 503
        assert "its record is unchanged" in problem["detail"]
        assert client.record(record_id) == before
        assert stack.attempts(record_id) == attempts
        to_dagster.drops = None
        assert client.post(f"{BASE}/sync-status/{record_id}/retry").status == 202
        assert client.wait_for(record_id, "success")["success_count"] == 2


@pytest.mark.parametrize("by_retry", [False, True])
def test_a_launch_whose_response_is_lost_continues_under_its_record(
    stack: Stack, tmp_path: Path, by_retry: bool
) -> None:
    batch_days = days(date(2025, 10, 18 + by_retry), 1)
    with wired(stack, tmp_path) as (to_dagster, client):
        path = LAUNCH
        if by_retry:
            stack.spoil("orders", batch_days[0])
            record_id = client.post(LAUNCH, body(batch_days)).data["record_id"]
            client.wait_for(record_id, "failed")
            stack.repair("orders", batch_days[0])
            path = f"{BASE}/sync-status/{record_id}/retry"
        to_dagster.drops, to_dagster.drops_response = b"launchRun", True
        problem = client.post(path, body(batch_days)).problem
        assert problem["status"] == 503
        assert "Dagster did not confirm" in problem["detail"]
        query = "SELECT * FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s"
        wait_until(
            lambda: [row["status"] for row in stack.target(query, batch_days)] == ["success"]
        )
    assert stack.differing_days("orders", batch_days) == []


def test_two_concurrent_cancels_cancel_once(api: Client, stack: Stack) -> None:
    batch_days = days(date(2025, 10, 23), 6)
    stack.pause("orders", batch_days, 1)
    record_id = api.post(LAUNCH, body(batch_days)).data["record_id"]
    wait_until(lambda: api.record(record_id)["success_count"] >= 1)
    cancel = f"{BASE}/sync-status/{record_id}/cancel"
    responses = at_once([lambda: api.post(cancel)] * 2)
    stack.pause("orders", batch_days, 0)
    assert sorted(response.status for response in responses) in ([202, 202], [202, 409])
    ended = api.wait_for(record_id, "failed")
    assert ended["cancelled_by"] == "local"
    assert ended["success_count"] + ended["failed_count"] == 6
    assert ended["failed_count"] > 0


def test_a_concurrent_cancel_and_retry_are_serialized(api: Client, stack: Stack) -> None:
    batch_days = days(date(2025, 11, 11), 6)
    stack.pause("orders", batch_days, 1)
    record_id = api.post(LAUNCH, body(batch_days)).data["record_id"]
    wait_until(lambda: api.record(record_id)["success_count"] >= 1)
    cancelled, retried = at_once(
        [
            lambda: api.post(f"{BASE}/sync-status/{record_id}/cancel"),
            lambda: api.post(f"{BASE}/sync-status/{record_id}/retry"),
        ]
    )
    stack.pause("orders", batch_days, 0)
    assert cancelled.status == 202
    assert retried.status in (202, 409)
    ended = api.wait_for(record_id, "success" if retried.status == 202 else "failed")
    assert ended["cancelled_by"] == (None if retried.status == 202 else "local")
    assert ended["success_count"] + ended["failed_count"] == 6


def test_a_backfill_launched_in_the_dagster_ui_can_be_cancelled(api: Client, stack: Stack) -> None:
    batch_days = days(date(2025, 8, 1), 12)
    stack.pause("events", batch_days, 0.5)
    backfill = launch_backfill(stack.dagster, batch_days, asset="events")
    record = wait_until(lambda: next(iter(stack.batches(backfill)), None))
    assert record is not None
    cancel = f"{BASE}/sync-status/{record['id']}/cancel"
    # The API returns 503 while a run is starting, which may take a while.
    wait_until(lambda: api.post(cancel).status == 202)
    ended = api.wait_for(record["id"], "failed")
    assert "cancelled by local over the API" in ended["remarks"]
    assert ended["dagster_url"] == f"{stack.dagster.url}/runs/b/{backfill}"
    stack.pause("events", batch_days, 0)


def test_a_batch_started_from_the_command_line_cannot_be_cancelled(
    api: Client, stack: Stack
) -> None:
    batch_days = days(date(2025, 8, 21), 6)
    stack.pause("orders", batch_days, 0.7)
    words = ("backfill", "orders", batch_days[0], batch_days[-1])
    with started(stack.settings.environment, *words) as process:
        query = "SELECT id FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s"
        record = wait_until(lambda: stack.target(query, [batch_days[0]]))[0]
        problem = api.post(f"{BASE}/sync-status/{record['id']}/cancel").problem
        stack.pause("orders", batch_days, 0)
        assert process.wait(60) == 0
    assert problem["status"] == 409
    assert "Ctrl-C" in problem["detail"]
    assert api.record(record["id"])["status"] == "success"


def test_a_single_day_cannot_be_cancelled_or_retried(api: Client, stack: Stack) -> None:
    batch_days = days(date(2025, 10, 1), 1)
    assert (
        run(stack.settings.environment, "backfill", "orders", batch_days[0], batch_days[0]).code
        == 0
    )
    (day,) = stack.target(
        "SELECT id FROM daily_sync_status WHERE kind = 'day' AND dataset = 'orders'"
        " AND sync_date = %s",
        batch_days,
    )
    for what in ("cancel", "retry"):
        problem = api.post(f"{BASE}/sync-status/{day['id']}/{what}").problem
        assert problem["status"] == 409
        assert f"record {day['id']} is a day; only a batch" in problem["detail"]
        assert api.post(f"{BASE}/sync-status/99999999/{what}").problem["status"] == 404
