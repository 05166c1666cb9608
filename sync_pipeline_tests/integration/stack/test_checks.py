"""The asset checks after a run: every row is accounted for, and no day has unusually few rows."""

from datetime import date
from typing import Any

import pytest

from sync_pipeline_tests.integration.stack.test_runs import end_of
from sync_pipeline_tests.stack_project import Stack, days

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

BEFORE = days(date(2024, 9, 14), 8)
SMALL, LAST = days(date(2024, 9, 22), 2)


def latest(stack: Stack, check: str) -> dict[str, Any]:
    """Return the latest result of an asset check on `events`."""
    query = """query ($key: AssetKeyInput!, $check: String!) {
        assetCheckExecutions(assetKey: $key, checkName: $check, limit: 1) {
            runId status evaluation { severity description metadataEntries {
                label ... on IntMetadataEntry { intValue } } } } }"""
    answer = stack.dagster.graphql(query, {"key": {"path": ["events"]}, "check": check})
    (found,) = answer["assetCheckExecutions"]
    evaluation = found["evaluation"]
    return {
        "run": found["runId"],
        "passed": found["status"] == "SUCCEEDED",
        "severity": evaluation["severity"],
        "said": evaluation["description"],
        **{entry["label"]: entry["intValue"] for entry in evaluation["metadataEntries"]},
    }


def sync(stack: Stack, first: date, last: date) -> str:
    request = {"dataset": "events", "start_date": str(first), "end_date": str(last)}
    run_id = stack.dagster.launch_job("batch_backfill", config=request)
    end_of(stack, run_id)
    return run_id


def test_a_day_with_unusually_few_rows_causes_a_warning(stack: Stack) -> None:
    stack.source("DELETE FROM events_rows WHERE day = %s AND id > 2", [SMALL])
    sync(stack, BEFORE[0], BEFORE[-1])
    assert latest(stack, "day_size")["passed"]
    run_id = sync(stack, SMALL, SMALL)
    found = latest(stack, "day_size")
    assert (found["run"], found["passed"], found["severity"]) == (run_id, False, "WARN")
    assert found["said"] == "2024-09-22: 2 rows, typically 20"
    (record,) = stack.target(
        "SELECT status FROM daily_sync_status WHERE dataset = 'events' AND kind = 'day'"
        " AND sync_date = %s",
        [SMALL],
    )
    assert record["status"] == "success"


def test_the_rows_of_each_run_are_accounted_for(stack: Stack) -> None:
    run_id = stack.dagster.launch_job("events_daily_sync", tags={"dagster/partition": str(LAST)})
    assert end_of(stack, run_id) == "SUCCESS"
    found = latest(stack, "rows_accounted_for")
    assert (found["run"], found["passed"]) == (run_id, True)
    counted = {name: found[name] for name in ("days", "rows_read", "rows_loaded", "rows_rejected")}
    assert counted == {"days": 1, "rows_read": 20, "rows_loaded": 20, "rows_rejected": 0}


def test_a_failed_day_causes_the_check_to_fail(stack: Stack) -> None:
    stack.spoil("events", LAST)
    run_id = stack.dagster.launch_job("events_daily_sync", tags={"dagster/partition": str(LAST)})
    assert end_of(stack, run_id) == "FAILURE"
    found = latest(stack, "rows_accounted_for")
    assert (found["run"], found["passed"], found["severity"]) == (run_id, False, "ERROR")
    assert found["said"] == "2024-09-23: failed; the 20 rows loaded before remain"


def test_a_run_that_is_aborted_still_reports_its_check(stack: Stack) -> None:
    stack.source("ALTER VIEW events_source RENAME TO events_elsewhere")
    try:
        run_id = stack.dagster.launch_job(
            "events_daily_sync", tags={"dagster/partition": str(LAST)}
        )
        assert end_of(stack, run_id) == "FAILURE"
    finally:
        stack.source("ALTER VIEW events_elsewhere RENAME TO events_source")
    found = latest(stack, "rows_accounted_for")
    assert (found["run"], found["passed"], found["severity"]) == (run_id, False, "ERROR")
