"""If a worker dies or misses its heartbeat, its record is closed, Dagster shows the failure, and
the worker commits nothing afterwards.

The web server, the daemon, the code server, the run and the signals are all real.
"""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import psutil
import pytest

from sync_pipeline_tests import command
from sync_pipeline_tests.faults.killing import kill_all
from sync_pipeline_tests.stack_project import Databases, Stack, days, project, run_dagster
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

LOST_AFTER_SECONDS = 3
TIMEOUT_SECONDS = 180
FIRST = date(2025, 3, 1)


@pytest.fixture(scope="module")
def databases(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    with project(
        make_database,
        tmp_path_factory.mktemp("faults"),
        SYNC_LOST_AFTER_SECONDS=str(LOST_AFTER_SECONDS),
    ) as made:
        yield made


@pytest.fixture(scope="module")
def killed(databases: Databases) -> tuple[str, list[date]]:
    """Kill all Dagster processes while a batch is running; return the batch's key and days."""
    batch_days = days(FIRST, 20)
    with run_dagster(databases.settings) as dagster:
        run_id = start_slow_batch(Stack(databases.settings, dagster), "orders", batch_days)
        worker = worker_of(databases, run_id)
        kill_all(dagster)
        wait_until(lambda: not worker.is_running())
    assert databases.batch(run_id)["status"] == "syncing"  # nothing that could close it is running
    return run_id, batch_days


@pytest.fixture(scope="module")
def stack(databases: Databases, killed: tuple[str, list[date]]) -> Iterator[Stack]:
    """Start Dagster again after all its processes were killed."""
    with run_dagster(databases.settings) as dagster:
        yield Stack(databases.settings, dagster)


def start_slow_batch(stack: Stack, dataset: str, of: list[date]) -> str:
    """Start a batch whose days take 0.2 s each; return its run ID once two days are synced."""
    stack.pause(dataset, of, 0.2)
    request = {"dataset": dataset, "start_date": str(of[0]), "end_date": str(of[-1])}
    run_id = stack.dagster.launch_job("batch_backfill", config=request)
    wait_until(lambda: [row for row in stack.batches(run_id) if row["success_count"] >= 2])
    return run_id


def worker_of(databases: Databases, run_id: str) -> psutil.Process:
    (worker,) = databases.target("SELECT * FROM sync_worker WHERE run_id = %s", [run_id])
    return psutil.Process(worker["pid"])


def wait_until_closed(databases: Databases, key: str) -> dict[str, Any]:
    """Wait until the record with this key is closed, and return it."""
    return (
        wait_until(
            lambda: next(
                (row for row in databases.batches(key) if row["status"] != "syncing"), None
            ),
            TIMEOUT_SECONDS,
        )
        or {}
    )


def reported_days(stack: Stack, dataset: str, of: list[date]) -> set[str]:
    query = """query ($key: AssetKeyInput!, $days: [String!]) { assetOrError(assetKey: $key) {
        ... on Asset { assetMaterializations(partitions: $days, limit: 200) { partition } } } }"""
    variables = {"key": {"path": [dataset]}, "days": [str(day) for day in of]}
    found = stack.dagster.graphql(query, variables)["assetOrError"]["assetMaterializations"]
    return {event["partition"] for event in found}


def assert_consistent(
    databases: Databases, dataset: str, record: dict[str, Any], of: list[date]
) -> None:
    """Assert that each day's attempt, the record and the target's rows agree."""
    attempts = [a for a in databases.attempts(record["id"]) if not a["superseded"]]
    states = {attempt["sync_date"]: attempt["state"] for attempt in attempts}
    assert set(states) == set(of)
    assert set(states.values()) <= {"success", "failed", "skipped"}
    done = [day for day in of if states[day] == "success"]
    assert record["success_count"] == len(done)
    assert record["failed_count"] == len(of) - len(done)
    assert databases.differing_days(dataset, done) == []
    for day in set(of) - set(done):
        assert databases.rows_of(dataset, day) == []
    assert databases.target("SELECT * FROM sync_attempt WHERE state = 'syncing'") == []
    left = "SELECT * FROM daily_sync_status WHERE status = 'syncing'"
    assert databases.target(left) == []


def test_records_are_corrected_at_the_next_start_after_everything_was_killed(
    stack: Stack, killed: tuple[str, list[date]]
) -> None:
    run_id, batch_days = killed
    record = wait_until_closed(stack, run_id)
    assert record["status"] == "failed"
    assert f"run {run_id} was lost: its process" in record["error_message"]
    assert_consistent(stack, "orders", record, batch_days)
    wait_until(lambda: stack.dagster.run_status(run_id) == "FAILURE")
    synced = {
        str(attempt["sync_date"])
        for attempt in stack.attempts(record["id"])
        if attempt["state"] == "success"
    }
    wait_until(lambda: reported_days(stack, "orders", batch_days) == synced)
    (correction,) = stack.target(
        "SELECT * FROM sync_correction WHERE run_id = %s AND what = 'marked a run as failed'",
        [run_id],
    )
    assert "was killed or crashed" in correction["why"]


def test_a_suspended_worker_is_presumed_dead_and_commits_nothing_when_it_resumes(
    stack: Stack,
) -> None:
    batch_days = days(date(2025, 4, 1), 20)
    run_id = start_slow_batch(stack, "orders", batch_days)
    worker = worker_of(stack, run_id)
    worker.suspend()
    try:
        record = wait_until_closed(stack, run_id)
        assert record["status"] == "failed"
        assert "sent no heartbeat for" in record["error_message"]
        wait_until(lambda: stack.dagster.run_status(run_id) == "FAILURE")
    finally:
        worker.resume()
    psutil.wait_procs([worker], TIMEOUT_SECONDS)
    assert not worker.is_running()
    after = stack.batch(run_id)
    assert after["success_count"] == record["success_count"]
    assert_consistent(stack, "orders", after, batch_days)


def test_if_the_worker_of_a_command_is_killed_dagster_shows_its_run_as_failed(
    stack: Stack,
) -> None:
    batch_days = days(date(2025, 5, 1), 20)
    stack.pause("orders", batch_days, 0.2)
    words = ("backfill", "orders", batch_days[0], batch_days[-1])
    with command.started(stack.settings.environment, *words) as process:
        found = wait_until(lambda: [r for r in stack.batches() if r["start_date"] == batch_days[0]])
        run_id = found[0]["run_id"]
        wait_until(lambda: stack.batch(found[0]["batch_key"])["success_count"] >= 2)
        os.kill(worker_of(stack, run_id).pid, signal.SIGKILL)
        ended = command.end_of(process)
    assert ended.code == 1
    record = wait_until_closed(stack, found[0]["batch_key"])
    assert_consistent(stack, "orders", record, batch_days)
    wait_until(lambda: stack.dagster.run_status(run_id) == "FAILURE", TIMEOUT_SECONDS)


def test_a_successful_batch_needs_no_correction_and_leaves_no_worker(stack: Stack) -> None:
    batch_days = days(date(2025, 6, 1), 5)
    run_id = start_slow_batch(stack, "orders", batch_days)
    assert wait_until_closed(stack, run_id)["status"] == "success"
    wait_until(lambda: stack.dagster.run_status(run_id) == "SUCCESS")
    wait_until(lambda: stack.target("SELECT * FROM sync_worker") == [])
    unreported = "SELECT * FROM sync_attempt WHERE state = 'success' AND materialized_at IS NULL"
    wait_until(lambda: stack.target(unreported) == [])
    # Only those for this batch: corrections from the previous test may still be written.
    corrections = (
        "SELECT what FROM sync_correction"
        " WHERE run_id = %(run)s OR batch_key = %(run)s OR sync_date = ANY(%(days)s)"
    )
    assert stack.target(corrections, {"run": run_id, "days": batch_days}) == []
