"""Workers that die or fall silent: the record closes, Dagster agrees, and nobody commits late.

Everything here is real: the web server, the daemon, the code server, the run and its signals.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import Any

import psutil
import pytest

from sync_pipeline.local.stack import run_dagster
from sync_pipeline_tests import command
from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.faults.killing import kill_all
from sync_pipeline_tests.stack_project import Databases, Stack, days, project

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

LOST_AFTER_SECONDS = 3
TIMEOUT_SECONDS = 90
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


@contextmanager
def running(databases: Databases) -> Iterator[Stack]:
    with run_dagster(databases.settings, 0) as dagster:
        yield Stack(databases.settings, dagster)


def start_slow_batch(stack: Stack, dataset: str, of: list[date]) -> str:
    """Start a batch whose days take a fifth of a second; return its run once two are in."""
    stack.pause(dataset, of, 0.2)
    request = {"dataset": dataset, "start_date": str(of[0]), "end_date": str(of[-1])}
    run_id = stack.dagster.launch_job("batch_backfill", config=request)
    wait_until(lambda: [row for row in stack.batches(run_id) if row["success_count"] >= 2])
    return run_id


def worker_of(databases: Databases, run_id: str) -> psutil.Process:
    (worker,) = databases.target("SELECT * FROM sync_worker WHERE run_id = %s", [run_id])
    return psutil.Process(worker["pid"])


def closed(databases: Databases, key: str) -> dict[str, Any]:
    """The record with this key once it is closed, which must be soon."""
    return (
        wait_until(
            lambda: next(
                (row for row in databases.batches(key) if row["status"] != "syncing"), None
            ),
            TIMEOUT_SECONDS,
        )
        or {}
    )


def told_days(stack: Stack, dataset: str, of: list[date]) -> set[str]:
    query = """query ($key: AssetKeyInput!, $days: [String!]) { assetOrError(assetKey: $key) {
        ... on Asset { assetMaterializations(partitions: $days, limit: 200) { partition } } } }"""
    variables = {"key": {"path": [dataset]}, "days": [str(day) for day in of]}
    found = stack.dagster.graphql(query, variables)["assetOrError"]["assetMaterializations"]
    return {event["partition"] for event in found}


def assert_true(databases: Databases, dataset: str, record: dict[str, Any], of: list[date]) -> None:
    """Each day's attempt, its record and the target's rows say the same."""
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


def test_everything_killed_at_once_is_put_right_at_the_next_start(databases: Databases) -> None:
    batch = days(FIRST, 20)
    with ExitStack() as stopping:
        stack = stopping.enter_context(running(databases))
        run_id = start_slow_batch(stack, "orders", batch)
        worker = worker_of(databases, run_id)
        kill_all(stack.dagster)
        wait_until(lambda: not worker.is_running())
    assert databases.batch(run_id)["status"] == "syncing"  # nobody was left to say otherwise
    with running(databases) as stack:
        record = closed(databases, run_id)
        assert record["status"] == "failed"
        assert f"run {run_id} was lost: its process" in record["error_message"]
        assert_true(databases, "orders", record, batch)
        wait_until(lambda: stack.dagster.run_status(run_id) == "FAILURE")
        done = {
            str(attempt["sync_date"])
            for attempt in databases.attempts(record["id"])
            if attempt["state"] == "success"
        }
        wait_until(lambda: told_days(stack, "orders", batch) == done)
        (correction,) = databases.target(
            "SELECT * FROM sync_correction WHERE run_id = %s AND what = 'marked a run as failed'",
            [run_id],
        )
        assert "was killed or crashed" in correction["why"]


def test_a_stopped_worker_is_taken_for_lost_and_commits_nothing_when_it_wakes(
    databases: Databases,
) -> None:
    batch = days(date(2025, 4, 1), 20)
    with running(databases) as stack:
        run_id = start_slow_batch(stack, "orders", batch)
        worker = worker_of(databases, run_id)
        worker.suspend()
        try:
            record = closed(databases, run_id)
            assert record["status"] == "failed"
            assert "had no heartbeat for" in record["error_message"]
            wait_until(lambda: stack.dagster.run_status(run_id) == "FAILURE")
        finally:
            worker.resume()
        psutil.wait_procs([worker], TIMEOUT_SECONDS)
        assert not worker.is_running()
        after = databases.batch(run_id)
        assert after["success_count"] == record["success_count"]
        assert_true(databases, "orders", after, batch)


def test_a_command_whose_batch_is_killed_leaves_no_run_that_dagster_believes_at_work(
    databases: Databases,
) -> None:
    batch = days(date(2025, 5, 1), 20)
    databases.pause("orders", batch, 0.2)
    with running(databases) as stack:
        environment = databases.settings.environment
        with command.started(environment, "backfill", "orders", batch[0], batch[-1]) as process:
            found = wait_until(
                lambda: [r for r in databases.batches() if r["start_date"] == batch[0]]
            )
            run_id = found[0]["run_id"]
            wait_until(lambda: databases.batch(found[0]["batch_key"])["success_count"] >= 2)
            os.kill(worker_of(databases, run_id).pid, signal.SIGKILL)
            ended = command.end_of(process)
        assert ended.code == 1
        record = closed(databases, found[0]["batch_key"])
        assert_true(databases, "orders", record, batch)
        wait_until(lambda: stack.dagster.run_status(run_id) == "FAILURE", TIMEOUT_SECONDS)


def test_a_batch_that_goes_well_needs_no_correction_and_leaves_no_worker(
    databases: Databases,
) -> None:
    batch = days(date(2025, 6, 1), 5)
    before = databases.target("SELECT count(*) AS n FROM sync_correction")
    with running(databases) as stack:
        run_id = start_slow_batch(stack, "orders", batch)
        assert closed(databases, run_id)["status"] == "success"
        wait_until(lambda: stack.dagster.run_status(run_id) == "SUCCESS")
        wait_until(lambda: databases.target("SELECT * FROM sync_worker") == [])
    unreported = "SELECT * FROM sync_attempt WHERE state = 'success' AND materialized_at IS NULL"
    assert databases.target(unreported) == []
    assert databases.target("SELECT count(*) AS n FROM sync_correction") == before
