"""Cancelling and retrying over the API, with a real Dagster, also at the same time."""

from datetime import date
from pathlib import Path

import pytest

from sync_pipeline_tests.command import run, started
from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, Client, body
from sync_pipeline_tests.integration.api.conftest import wired
from sync_pipeline_tests.integration.helpers import at_once
from sync_pipeline_tests.stack_project import Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_a_day_that_failed_goes_in_by_a_retry_in_the_same_record(api: Client, stack: Stack) -> None:
    of = days(date(2025, 6, 21), 3)
    stack.spoil("orders", of[1])
    launched = api.post(LAUNCH, body(of)).data
    failed = api.wait_for(launched["record_id"], "failed")
    assert (failed["success_count"], failed["failed_count"]) == (2, 1)
    stack.mend("orders", of[1])
    stack.pause("orders", of, 2)
    retry = f"{BASE}/sync-status/{failed['id']}/retry"
    again = api.post(retry)
    assert again.status == 202
    assert again.data["run_id"] != launched["run_id"]
    waiting = again.data["record"]
    assert (waiting["status"], waiting["failed_count"], waiting["error_message"]) == (
        *("syncing", 0, None),
    )
    assert waiting["remarks"] == "批量同步进度: 2/3天, 成功2, 失败0, 跳过0"
    refused = api.post(retry).problem
    assert refused["status"] == 409
    assert "at work" in refused["detail"]
    after = api.wait_for(failed["id"], "success")
    assert (after["success_count"], after["failed_count"]) == (3, 0)
    detail = api.get(f"{BASE}/sync-status/{failed['id']}").data
    assert [(a["state"], a["superseded"]) for a in detail["attempts"]].count(("failed", True)) == 1
    done = api.post(retry).problem
    assert done["status"] == 409
    assert "has no unfinished day" in done["detail"]


def test_a_cancelled_batch_says_who_cancelled_it_and_can_be_retried(
    api: Client, stack: Stack
) -> None:
    of = days(date(2025, 7, 1), 20)
    stack.pause("orders", of, 0.4)
    record_id = api.post(LAUNCH, body(of)).data["record_id"]
    wait_until(lambda: api.record(record_id)["success_count"] >= 2)
    cancelled = api.post(f"{BASE}/sync-status/{record_id}/cancel")
    assert cancelled.status == 202
    assert cancelled.data["record"]["cancelled_by"] == "local"
    ended = api.wait_for(record_id, "failed")
    assert ended["remarks"] == "批量同步失败: cancelled by local over the API"
    assert ended["success_count"] + ended["failed_count"] == 20
    # The last day at work may be in, or be cancelled: one says so then, the other all alike.
    assert "not run: " in ended["error_message"].lower()
    kept = ended["success_count"]
    again = api.post(f"{BASE}/sync-status/{record_id}/cancel").problem
    assert again["status"] == 409
    stack.pause("orders", of, 0)
    wait_until(lambda: api.post(f"{BASE}/sync-status/{record_id}/retry").status == 202)
    after = api.wait_for(record_id, "success")
    assert (after["success_count"], after["cancelled_by"]) == (20, None)
    tries = [a["state"] for a in stack.attempts(record_id) if not a["superseded"]]
    assert tries == ["success"] * 20
    assert kept < 20
    assert stack.differing_days("orders", of) == []


def test_a_retry_can_be_cancelled_before_its_run_has_begun(api: Client, stack: Stack) -> None:
    of = days(date(2025, 10, 11), 2)
    stack.spoil("orders", of[0])
    record_id = api.post(LAUNCH, body(of)).data["record_id"]
    api.wait_for(record_id, "failed")
    stack.mend("orders", of[0])
    stack.pause("orders", of, 30)  # so that a run which began would be seen
    again = api.post(f"{BASE}/sync-status/{record_id}/retry")
    cancelled = api.post(f"{BASE}/sync-status/{record_id}/cancel")
    assert (again.status, cancelled.status) == (202, 202)
    ended = api.wait_for(record_id, "failed")
    assert (ended["cancelled_by"], ended["success_count"]) == ("local", 1)
    wait_until(lambda: stack.dagster.run_status(again.data["run_id"]) in ("CANCELED", "FAILURE"))
    assert [a["superseded"] for a in stack.attempts(record_id)].count(True) == 1
    stack.pause("orders", of, 0)
    assert api.post(f"{BASE}/sync-status/{record_id}/retry").status == 202
    assert api.wait_for(record_id, "success")["cancelled_by"] is None


def test_a_retry_that_dagster_does_not_hear_of_leaves_the_record_as_it_was(
    stack: Stack, tmp_path: Path
) -> None:
    of = days(date(2025, 10, 15), 2)
    with wired(stack, tmp_path) as (to_dagster, client):
        stack.spoil("orders", of[0])
        record_id = client.post(LAUNCH, body(of)).data["record_id"]
        before = client.wait_for(record_id, "failed")
        # Dagster may be told of the day that is in only now.
        wait_until(lambda: all(a["materialized_at"] for a in stack.attempts(record_id)[1:]))
        attempts = stack.attempts(record_id)
        stack.mend("orders", of[0])
        to_dagster.loses = b"launchRun"
        # The first run may be just ending.
        problem = client.post(f"{BASE}/sync-status/{record_id}/retry").problem
        assert problem["status"] == 503
        assert "stands as it was" in problem["detail"]
        assert client.record(record_id) == before
        assert stack.attempts(record_id) == attempts
        to_dagster.loses = None
        assert client.post(f"{BASE}/sync-status/{record_id}/retry").status == 202
        assert client.wait_for(record_id, "success")["success_count"] == 2


@pytest.mark.parametrize("again", [False, True])
def test_what_dagster_launched_without_an_answer_goes_on_in_its_record(
    stack: Stack, tmp_path: Path, again: bool
) -> None:
    of = days(date(2025, 10, 18 + again), 1)
    with wired(stack, tmp_path) as (to_dagster, client):
        path = LAUNCH
        if again:
            stack.spoil("orders", of[0])
            record_id = client.post(LAUNCH, body(of)).data["record_id"]
            client.wait_for(record_id, "failed")
            stack.mend("orders", of[0])
            path = f"{BASE}/sync-status/{record_id}/retry"
        to_dagster.loses, to_dagster.only_answers = b"launchRun", True
        problem = client.post(path, body(of)).problem
        assert problem["status"] == 503
        assert "is not known" in problem["detail"]
        query = "SELECT * FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s"
        wait_until(lambda: [row["status"] for row in stack.target(query, of)] == ["success"])
    assert stack.differing_days("orders", of) == []


def test_two_cancels_at_once_cancel_once(api: Client, stack: Stack) -> None:
    of = days(date(2025, 10, 23), 6)
    stack.pause("orders", of, 1)
    record_id = api.post(LAUNCH, body(of)).data["record_id"]
    wait_until(lambda: api.record(record_id)["success_count"] >= 1)
    cancel = f"{BASE}/sync-status/{record_id}/cancel"
    answers = at_once([lambda: api.post(cancel)] * 2)
    stack.pause("orders", of, 0)
    assert sorted(answer.status for answer in answers) in ([202, 202], [202, 409])
    ended = api.wait_for(record_id, "failed")
    assert ended["cancelled_by"] == "local"
    assert ended["success_count"] + ended["failed_count"] == 6
    assert ended["failed_count"] > 0


def test_a_cancel_and_a_retry_at_once_end_as_one_after_the_other(api: Client, stack: Stack) -> None:
    of = days(date(2025, 11, 11), 6)
    stack.pause("orders", of, 1)
    record_id = api.post(LAUNCH, body(of)).data["record_id"]
    wait_until(lambda: api.record(record_id)["success_count"] >= 1)
    cancelled, again = at_once(
        [
            lambda: api.post(f"{BASE}/sync-status/{record_id}/cancel"),
            lambda: api.post(f"{BASE}/sync-status/{record_id}/retry"),
        ]
    )
    stack.pause("orders", of, 0)
    assert cancelled.status == 202
    assert again.status in (202, 409)
    ended = api.wait_for(record_id, "success" if again.status == 202 else "failed")
    assert ended["cancelled_by"] == (None if again.status == 202 else "local")
    assert ended["success_count"] + ended["failed_count"] == 6


def test_a_backfill_of_the_dagster_ui_can_be_cancelled_too(api: Client, stack: Stack) -> None:
    of = days(date(2025, 8, 1), 12)
    stack.pause("events", of, 0.5)
    backfill = stack.dagster.launch_backfill(of, asset="events")
    record = wait_until(lambda: next(iter(stack.batches(backfill)), None))
    assert record is not None
    cancel = f"{BASE}/sync-status/{record['id']}/cancel"
    # While a run of it is just starting, which may take long, it says: try again.
    wait_until(lambda: api.post(cancel).status == 202)
    ended = api.wait_for(record["id"], "failed")
    assert "cancelled by local over the API" in ended["remarks"]
    assert ended["dagster_url"] == f"{stack.dagster.url}/runs/b/{backfill}"
    stack.pause("events", of, 0)


def test_what_a_command_line_runs_is_left_to_it(api: Client, stack: Stack) -> None:
    of = days(date(2025, 8, 21), 6)
    stack.pause("orders", of, 0.7)
    words = ("backfill", "orders", of[0], of[-1])
    with started(stack.settings.environment, *words) as process:
        query = "SELECT id FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s"
        record = wait_until(lambda: stack.target(query, [of[0]]))[0]
        problem = api.post(f"{BASE}/sync-status/{record['id']}/cancel").problem
        stack.pause("orders", of, 0)
        assert process.wait(60) == 0
    assert problem["status"] == 409
    assert "Ctrl-C" in problem["detail"]
    assert api.record(record["id"])["status"] == "success"


def test_a_day_alone_is_not_cancelled_or_retried(api: Client, stack: Stack) -> None:
    of = days(date(2025, 10, 1), 1)
    assert run(stack.settings.environment, "backfill", "orders", of[0], of[0]).code == 0
    (day,) = stack.target(
        "SELECT id FROM daily_sync_status WHERE kind = 'day' AND dataset = 'orders'"
        " AND sync_date = %s",
        of,
    )
    for what in ("cancel", "retry"):
        problem = api.post(f"{BASE}/sync-status/{day['id']}/{what}").problem
        assert problem["status"] == 409
        assert "is a day's" in problem["detail"]
        assert api.post(f"{BASE}/sync-status/99999999/{what}").problem["status"] == 404
