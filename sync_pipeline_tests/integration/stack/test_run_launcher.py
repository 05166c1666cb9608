"""Runs are forked from a process that has imported Dagster, but otherwise behave like any other."""

import json
import signal
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest

from sync_pipeline.dagster_client.tags import RUN_PROCESS_TAG
from sync_pipeline_tests.stack_project import Stack
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

PAUSE_SECONDS = 60
TERMINATE = """mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"""


def launch(stack: Stack, day: date, pause_seconds: float = 0) -> str:
    """Launch a run that syncs `day`, whose source pauses for `pause_seconds`."""
    stack.pause("orders", [day], pause_seconds)
    return stack.dagster.launch_job("orders_daily_sync", tags={"dagster/partition": str(day)})


def process_of(stack: Stack, run_id: str) -> psutil.Process:
    """Wait until the run is syncing its day; return its process."""
    syncing = "SELECT id FROM sync_attempt WHERE run_id = %s AND state = 'syncing'"
    wait_until(lambda: stack.records(syncing, [run_id]))
    statement = "SELECT value FROM dagster.run_tags WHERE run_id = %s AND key = %s"
    (tag,) = stack.target(statement, [run_id, RUN_PROCESS_TAG])
    return psutil.Process(json.loads(tag["value"])["pid"])


def record_of(stack: Stack, run_id: str) -> dict[str, Any]:
    (record,) = stack.records("SELECT * FROM daily_sync_status WHERE run_id = %s", [run_id])
    return record


def end_of(stack: Stack, run_id: str) -> str:
    over = {"SUCCESS", "FAILURE", "CANCELED"}
    wait_until(lambda: stack.dagster.run_status(run_id) in over)
    return stack.dagster.run_status(run_id)


def messages_of(stack: Stack, run_id: str) -> list[str]:
    query = """query ($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection {
        events { ... on MessageEvent { message } } } } }"""
    events = stack.dagster.graphql(query, {"id": run_id})["logsForRun"]["events"]
    return [event["message"] for event in events if event]


def test_a_run_is_forked_from_a_process_with_a_single_thread(stack: Stack) -> None:
    day = date(2024, 11, 23)
    run_id = launch(stack, day, pause_seconds=3)
    server = process_of(stack, run_id).parent()
    assert server is not None
    assert server.num_threads() == 1
    assert end_of(stack, run_id) == "SUCCESS"
    assert stack.differing_days("orders", [day]) == []


def test_a_forked_run_can_be_terminated(stack: Stack) -> None:
    run_id = launch(stack, date(2024, 11, 24), PAUSE_SECONDS)
    process = process_of(stack, run_id)
    result = stack.dagster.graphql(TERMINATE, {"id": run_id})["terminateRun"]
    assert result["__typename"] == "TerminateRunSuccess"
    assert end_of(stack, run_id) == "CANCELED"
    wait_until(lambda: not process.is_running())
    cancelled = f"cancelled in Dagster: run {run_id}; the day was running and was rolled back"
    assert record_of(stack, run_id)["error_message"] == cancelled


def test_the_crash_of_a_forked_run_is_reported_with_its_signal(stack: Stack) -> None:
    run_id = launch(stack, date(2024, 11, 25), PAUSE_SECONDS)
    process = process_of(stack, run_id)
    process.send_signal(signal.SIGKILL)
    assert end_of(stack, run_id) == "FAILURE"
    explanation = f"Run process {process.pid} was terminated by signal 9 (SIGKILL)."
    assert explanation in "".join(messages_of(stack, run_id)), messages_of(stack, run_id)
    wait_until(lambda: record_of(stack, run_id)["status"] == "failed")


def test_a_run_continues_if_the_fork_server_ends_and_the_next_run_has_a_new_one(
    stack: Stack,
) -> None:
    first = launch(stack, date(2024, 11, 26), pause_seconds=5)
    server = process_of(stack, first).parent()
    assert server is not None
    server.kill()
    second = launch(stack, date(2024, 11, 27), pause_seconds=3)
    new = process_of(stack, second).parent()
    assert new is not None
    assert new.pid != server.pid
    assert "multiprocessing.forkserver" in " ".join(new.cmdline())
    assert [end_of(stack, run_id) for run_id in (first, second)] == ["SUCCESS", "SUCCESS"]


def test_the_output_of_a_forked_run_is_in_its_compute_log(stack: Stack) -> None:
    run_id = launch(stack, date(2024, 11, 28))
    assert end_of(stack, run_id) == "SUCCESS"
    logs = Path(stack.settings.environment["SYNC_COMPUTE_LOG_DIR"]).rglob(f"{run_id}/**/*.err")
    assert "STEP_SUCCESS" in "".join(log.read_text() for log in logs)
