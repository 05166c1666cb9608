"""All kinds of runs in a real Dagster instance, including cancelled and killed runs."""

import os
import signal
from datetime import date, timedelta
from typing import Any

import psutil
import pytest

from sync_pipeline.dagster_client.tags import TRIGGERED_BY_TAG
from sync_pipeline.errors import RequestError
from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TIMEOUT_SECONDS = 180
OVER = {"SUCCESS", "FAILURE", "CANCELED"}


def end_of(stack: Stack, run_id: str) -> str:
    wait_until(lambda: stack.dagster.run_status(run_id) in OVER)
    return stack.dagster.run_status(run_id)


def run_batch_job(stack: Stack, first: date, last: date, **config: Any) -> tuple[str, str]:
    """Run the batch job over a day range, by default for `orders`; return its run ID and status."""
    request = {"dataset": "orders", "start_date": str(first), "end_date": str(last), **config}
    run_id = stack.dagster.launch_job("batch_backfill", config=request)
    return run_id, end_of(stack, run_id)


def sync_alone(stack: Stack, *to_sync: date) -> list[str]:
    """Sync each day in a separate run; return the run IDs."""
    runs = [
        stack.dagster.launch_job("orders_daily_sync", tags={"dagster/partition": str(day)})
        for day in to_sync
    ]
    assert {end_of(stack, run_id) for run_id in runs} == {"SUCCESS"}
    return runs


def messages(stack: Stack, run_id: str) -> str:
    """Return the messages in a run's event log, including the errors from its steps."""
    query = """query ($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection {
        events { ... on MessageEvent { message }
                 ... on ExecutionStepFailureEvent { failureMetadata { description }
                     error { message causes { message } } } } } } }"""
    return str(stack.dagster.graphql(query, {"id": run_id}))


def counts(record: dict[str, Any]) -> tuple[int, int, int]:
    return record["success_count"], record["failed_count"], record["skipped_count"]


def skipped_days(stack: Stack, of: list[date]) -> dict[str, set[str]]:
    """Return the days whose latest materialization is a skip, with its metadata labels."""
    query = """query ($key: AssetKeyInput!, $days: [String!]) { assetOrError(assetKey: $key) {
        ... on Asset { assetMaterializations(partitions: $days, limit: 100) { partition timestamp
            metadataEntries { label } } } } }"""
    variables = {"key": {"path": ["orders"]}, "days": [str(day) for day in of]}
    events = stack.dagster.graphql(query, variables)["assetOrError"]["assetMaterializations"]
    latest: dict[str, set[str]] = {}
    for event in sorted(events, key=lambda event: float(event["timestamp"])):
        latest[event["partition"]] = {entry["label"] for entry in event["metadataEntries"]}
    assert set(latest) == {str(day) for day in of}
    return {day: labels for day, labels in latest.items() if "skipped" in labels}


def failed_partitions(stack: Stack, dataset: str, of: list[date]) -> list[str]:
    """Return the days that Dagster's asset page shows as failed."""
    query = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
        ... on AssetNode { assetPartitionStatuses { ... on TimePartitionStatuses {
            ranges { status startKey endKey } } } } } }"""
    answer = stack.dagster.graphql(query, {"key": {"path": [dataset]}})
    ranges = answer["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
    failed = [(r["startKey"], r["endKey"]) for r in ranges if r["status"] == "FAILED"]
    return [str(day) for day in of if any(a <= str(day) <= b for a, b in failed)]


def test_the_batch_job_skips_synced_days_and_reports_them(stack: Stack) -> None:
    batch = days(date(2024, 6, 1), 10)
    sync_alone(stack, batch[2], batch[5])
    run_id, ended = run_batch_job(stack, batch[0], batch[-1])
    assert ended == "SUCCESS"
    record = stack.batch(run_id)
    assert (record["status"], record["total_days"]) == ("success", 10)
    assert counts(record) == (8, 0, 2)
    assert record["total_records"] == 8 * ROWS_PER_DAY
    minutes, seconds = divmod(record["duration_seconds"], 60)
    assert record["remarks"] == (
        "批量同步完成: 2024-06-01至2024-06-10, 共10天, 成功8, 失败0, 跳过2, "
        f"耗时{minutes}分{seconds}秒"
    )
    assert (record["run_id"], record["triggered_by"]) == (run_id, f"run {run_id}")
    skipped = skipped_days(stack, batch)
    assert set(skipped) == {str(batch[2]), str(batch[5])}
    for labels in skipped.values():  # the synced day's metadata remains visible
        assert {"rows", "attempt", "record"} <= labels
    assert stack.differing_days("orders", batch) == []


def test_the_batch_job_resyncs_synced_days_if_requested(stack: Stack) -> None:
    batch = days(date(2024, 6, 11), 3)
    sync_alone(stack, batch[1])
    run_id, ended = run_batch_job(stack, batch[0], batch[-1], already_synced="resync")
    assert (ended, counts(stack.batch(run_id))) == ("SUCCESS", (3, 0, 0))
    assert skipped_days(stack, batch) == {}


def test_a_batch_of_scattered_days_keeps_its_days_when_run_over_a_range(stack: Stack) -> None:
    scattered = days(date(2024, 6, 14), 7)[::3]
    batch = helpers.open_batch(stack.settings.database_url, scattered, "scattered", "orders")
    run_id = stack.dagster.launch_job(
        "batch_backfill",
        config={"dataset": "orders", "start_date": "2024-06-14", "end_date": "2024-06-20"},
        tags={"sync_pipeline/batch_key": batch.batch_key},
    )
    assert end_of(stack, run_id) == "SUCCESS"
    assert [one["sync_date"] for one in stack.attempts(batch.id)] == scattered
    assert counts(stack.batch(batch.batch_key)) == (3, 0, 0)


def test_a_failed_day_does_not_stop_later_days(stack: Stack) -> None:
    batch = days(date(2024, 7, 1), 30)
    stack.spoil("events", batch[3])
    run_id, ended = run_batch_job(stack, batch[0], batch[-1], dataset="events")
    record = stack.batch(run_id)
    assert (ended, record["status"], counts(record)) == ("FAILURE", "failed", (29, 1, 0))
    assert record["error_message"].startswith(f"1 of 30 days failed: {batch[3]}. First: ")
    assert stack.differing_days("events", batch) == [batch[3]]
    assert f"1 of 30 days failed: {batch[3]}" in messages(stack, run_id)
    assert failed_partitions(stack, "events", batch) == [str(batch[3])]


BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "is reversed; put the earlier": {"start_date": "2024-06-05", "end_date": "2024-06-01"},
    "end_date: '2024-06-31' is not a date": {"end_date": "2024-06-31"},
    "is before its first day": {"start_date": "2023-12-31"},
    "cannot be synced: the dataset's end_date": {"end_date": "2026-01-02"},
    "dataset 'ordres' not found; known datasets: deliveries, events, history, orders": {
        "dataset": "ordres"
    },
    "several datasets exist; name one of: deliveries, events, history, orders": {"dataset": None},
}


@pytest.fixture(scope="module")
def rejected(stack: Stack) -> dict[str, str]:
    """Launch all invalid requests at once; return their run IDs, keyed by expected message."""
    runs = {}
    for said, changed in BAD_REQUESTS.items():
        request = {"dataset": "orders", "start_date": "2024-06-01", "end_date": "2024-06-02"}
        given = {key: value for key, value in {**request, **changed}.items() if value is not None}
        runs[said] = stack.dagster.launch_job("batch_backfill", config=given)
    return runs


@pytest.mark.parametrize("said", BAD_REQUESTS)
def test_an_invalid_request_fails_the_run_with_one_line_and_creates_no_record(
    stack: Stack, rejected: dict[str, str], said: str
) -> None:
    run_id = rejected[said]
    assert end_of(stack, run_id) == "FAILURE"
    assert said in messages(stack, run_id)
    assert stack.batches(run_id) == []


def test_a_request_with_an_invalid_value_is_rejected_before_it_runs(stack: Stack) -> None:
    with pytest.raises(RequestError, match="already_synced"):
        stack.dagster.launch_job(
            "batch_backfill",
            config={"start_date": "2024-06-01", "end_date": "2024-06-02", "already_synced": "no"},
        )


def test_a_run_over_a_range_is_one_batch(stack: Stack) -> None:
    batch = days(date(2024, 11, 1), 4)
    run_id = stack.dagster.launch_job(
        "events_daily_sync",
        tags={
            "dagster/asset_partition_range_start": str(batch[0]),
            "dagster/asset_partition_range_end": str(batch[-1]),
        },
    )
    assert end_of(stack, run_id) == "SUCCESS"
    record = stack.batch(run_id)
    assert (record["dataset"], record["status"], counts(record)) == ("events", "success", (4, 0, 0))


def test_a_run_for_one_day_has_a_day_record_and_no_batch(stack: Stack) -> None:
    day = date(2024, 11, 6)
    (run_id,) = sync_alone(stack, day)
    assert stack.batches(run_id) == []
    (record,) = stack.target("SELECT * FROM daily_sync_status WHERE run_id = %s", [run_id])
    assert (record["kind"], record["sync_date"], record["status"]) == ("day", day, "success")


def start_slow_batch(
    stack: Stack, batch: list[date], **run_tags: str
) -> tuple[str, dict[str, Any]]:
    """Start a batch of slow days; return its run ID and record once two days are synced."""
    stack.pause("orders", batch, 0.5)
    request = {"dataset": "orders", "start_date": str(batch[0]), "end_date": str(batch[-1])}
    run_id = stack.dagster.launch_job("batch_backfill", config=request, tags=run_tags)

    def under_way() -> Any:
        found = stack.batches(run_id)
        return found[0] if found and found[0]["success_count"] >= 2 else None

    return run_id, wait_until(under_way)


def process_of(stack: Stack, run_id: str) -> psutil.Process:
    """Return the process that executes a run, found by the PID in the run's event log."""
    pid = int(messages(stack, run_id).split("Started process for run (pid: ")[1].split(")")[0])
    return psutil.Process(pid)


def assert_closed_correctly(stack: Stack, run_id: str, batch: list[date], said: str) -> None:
    """Assert that the record is closed as failed for this reason and that its days are correct."""
    record = wait_until(lambda: (r := stack.batch(run_id))["status"] != "syncing" and r)
    assert record["status"] == "failed"
    success, failed, skipped = counts(record)
    assert success >= 2
    assert success + failed + skipped == record["total_days"] == len(batch)
    assert said in record["error_message"]
    assert record["remarks"].startswith("批量同步失败: ")
    attempts = stack.attempts(record["id"])
    done = [attempt["sync_date"] for attempt in attempts if attempt["state"] == "success"]
    assert stack.differing_days("orders", done) == []
    for attempt in attempts:
        if attempt["state"] == "failed":
            assert stack.rows_of("orders", attempt["sync_date"]) == []
    never = [attempt for attempt in attempts if attempt["attempt"] is None]
    assert never
    assert all(attempt["error_message"].startswith("not run: ") for attempt in never)
    unfinished = stack.target(
        "SELECT * FROM daily_sync_status WHERE kind = 'day' AND status = 'syncing' AND run_id = %s",
        [run_id],
    )
    assert unfinished == []


def test_a_cancelled_batch_keeps_its_days_and_is_closed_as_failed(stack: Stack) -> None:
    batch = days(date(2024, 11, 10), 12)
    run_id, _ = start_slow_batch(stack, batch)
    stack.dagster.graphql(
        "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }", {"id": run_id}
    )
    assert end_of(stack, run_id) == "CANCELED"
    assert_closed_correctly(stack, run_id, batch, f"cancelled in Dagster: run {run_id}")


def test_a_batch_whose_process_is_killed_is_closed_as_failed(stack: Stack) -> None:
    batch = days(date(2024, 12, 1), 12)
    run_id, _ = start_slow_batch(stack, batch)
    os.kill(process_of(stack, run_id).pid, signal.SIGKILL)
    assert end_of(stack, run_id) == "FAILURE"
    assert_closed_correctly(stack, run_id, batch, f"run {run_id} was lost: its process ")


def test_a_batch_whose_process_gets_a_sigterm_is_cancelled(stack: Stack) -> None:
    batch = days(date(2024, 12, 23), 9)
    # As in a re-execution from the Dagster UI: it has a command's tag, but no command started it.
    run_id, _ = start_slow_batch(stack, batch, **{TRIGGERED_BY_TAG: "ada, command line"})
    os.kill(process_of(stack, run_id).pid, signal.SIGTERM)
    assert end_of(stack, run_id) in ("FAILURE", "CANCELED")
    assert_closed_correctly(
        stack, run_id, batch, f"cancelled: the process of run {run_id} received a signal"
    )


def test_a_batch_is_closed_within_a_second_of_its_last_day(stack: Stack) -> None:
    batch = days(date(2024, 12, 20), 3)
    run_id, _ = run_batch_job(stack, batch[0], batch[-1])
    record = stack.batch(run_id)
    last = max(attempt["ended_at"] for attempt in stack.attempts(record["id"]))
    assert abs(record["end_time"] - last) < timedelta(seconds=1)


def test_a_small_run_does_not_wait_behind_a_backfill_with_many_runs(stack: Stack) -> None:
    batch = days(date(2024, 10, 1), 28)
    stack.pause("events", batch, 20)  # even on a busy machine, six runs start in this time
    key = launch_backfill(stack.dagster, batch, asset="events")
    wait_until(lambda: len(runs_of(stack, key, "STARTED")) == 6)
    stack.pause("events", batch, 0)
    sync_alone(stack, date(2024, 10, 20))
    assert runs_of(stack, key, "QUEUED") != []
    wait_until(lambda: sum(len(runs_of(stack, key, status)) for status in OVER) == 14)
    assert len(runs_of(stack, key, "SUCCESS")) == 14


def runs_of(stack: Stack, backfill: str, status: str) -> list[dict[str, Any]]:
    statement = """SELECT runs.run_id FROM dagster.runs JOIN dagster.run_tags USING (run_id)
        WHERE key = 'dagster/backfill' AND value = %s AND status = %s"""
    return stack.target(statement, [backfill, status])
