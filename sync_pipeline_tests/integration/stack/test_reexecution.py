"""However a batch is re-executed or cancelled in Dagster, its single record is reused.

All backfills are launched at once; one is cancelled, the others fail. The failed ones are then
re-executed.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.command import run
from sync_pipeline_tests.stack_project import Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TIMEOUT_SECONDS = 300
OVER = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "CANCELED", "FAILED"}
_REEXECUTE_BACKFILL = """mutation ($params: ReexecutionParams!) {
    reexecutePartitionBackfill(reexecutionParams: $params) { __typename
        ... on LaunchBackfillSuccess { backfillId } ... on Error { message } } }"""
_REEXECUTE_RUN = """mutation ($params: ReexecutionParams!) {
    launchRunReexecution(reexecutionParams: $params) { __typename
        ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
_CANCEL_BACKFILL = """mutation ($id: String!) {
    cancelPartitionBackfill(backfillId: $id) { __typename } }"""
_BACKFILL = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""
_RUNS = """query ($filter: RunsFilter!) { runsOrError(filter: $filter) {
    ... on Runs { results { runId status } } } }"""


@dataclass(frozen=True)
class Plan:
    """A backfill with two bad days, and how it is retried once those days are repaired."""

    dataset: str
    days: list[date]
    again: str
    by_job: bool = False

    @property
    def bad(self) -> list[date]:
        return [self.days[1], self.days[-1]]


SCATTERED = [*days(date(2024, 8, 1), 3), date(2024, 8, 6), date(2024, 8, 7)]
PLANS = {
    "from failure": Plan("orders", days(date(2024, 7, 1), 5), "FROM_FAILURE"),
    "all steps": Plan("orders", days(date(2024, 7, 11), 5), "ALL_STEPS"),
    "from failure, many runs": Plan("events", days(date(2024, 2, 1), 6), "FROM_FAILURE"),
    # Dagster 1.13 cannot re-execute a job backfill from failure if a run has several days.
    "job, all steps": Plan("events", days(date(2024, 4, 1), 6), "ALL_STEPS", by_job=True),
    "its runs, from failure": Plan("events", days(date(2024, 6, 1), 6), "runs"),
    "by command, scattered": Plan("orders", SCATTERED, "retry"),
}
CANCELLED = days(date(2024, 8, 11), 20)


@dataclass(frozen=True)
class Retried:
    """The record of a batch before and after its retry."""

    plan: Plan
    before: dict[str, Any]
    after: dict[str, Any]
    attempts: list[dict[str, Any]]

    def states(self, day: date) -> list[str]:
        return [a["state"] for a in self.attempts if a["sync_date"] == day]


def backfill_status(stack: Stack, key: str) -> str:
    return str(stack.dagster.graphql(_BACKFILL, {"id": key})["partitionBackfillOrError"]["status"])


def runs_of(stack: Stack, **tags: str) -> dict[str, str]:
    """Return the statuses of the runs with these tags, by run ID."""
    wanted = [{"key": f"dagster/{key}", "value": value} for key, value in tags.items()]
    found = stack.dagster.graphql(_RUNS, {"filter": {"tags": wanted}})["runsOrError"]["results"]
    return {run["runId"]: run["status"] for run in found}


def launch(stack: Stack, plan: Plan) -> str:
    for day in plan.bad:
        stack.spoil(plan.dataset, day)
    if plan.by_job:
        return launch_backfill(stack.dagster, plan.days, job=f"{plan.dataset}_daily_sync")
    return launch_backfill(stack.dagster, plan.days, asset=plan.dataset)


def retry_batch(stack: Stack, plan: Plan, key: str) -> None:
    """Repair the bad days and retry the batch without waiting for it to end."""
    for day in plan.bad:
        stack.repair(plan.dataset, day)
    if plan.again == "retry":
        ended = run(stack.settings.environment, "retry", stack.batch(key)["id"])
        assert (ended.code, ended.errors) == (0, "")
    elif plan.again == "runs":
        for run_id, status in runs_of(stack, backfill=key).items():
            if status == "FAILURE":
                params = {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
                answer = stack.dagster.graphql(_REEXECUTE_RUN, {"params": params})
                assert answer["launchRunReexecution"]["__typename"] == "LaunchRunSuccess", answer
    else:
        params = {"parentRunId": key, "strategy": plan.again}
        answer = stack.dagster.graphql(_REEXECUTE_BACKFILL, {"params": params})
        assert answer["reexecutePartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer


def wait_until_over(stack: Stack, key: str, status: str) -> None:
    """Wait until the backfill and its record have ended."""
    wait_until(lambda: backfill_status(stack, key) in OVER, TIMEOUT_SECONDS)
    try:
        wait_until(lambda: stack.batch(key)["status"] == status, TIMEOUT_SECONDS)
    except AssertionError:
        raise AssertionError(f"not {status}: {stack.batch(key)}") from None


@pytest.fixture(scope="module")
def retried(stack: Stack) -> dict[str, Any]:
    """Run all plans and retry them; return the results and the key of the cancelled backfill."""
    stack.pause("orders", CANCELLED, 3)
    keys = {name: launch(stack, plan) for name, plan in PLANS.items()}
    cancelled = launch_backfill(stack.dagster, CANCELLED, asset="orders")
    wait_until(
        lambda: [r for r in stack.batches(cancelled) if r["success_count"] >= 2], TIMEOUT_SECONDS
    )
    stack.dagster.graphql(_CANCEL_BACKFILL, {"id": cancelled})
    for key in [*keys.values(), cancelled]:
        wait_until_over(stack, key, "failed")
    before = {name: stack.batch(key) for name, key in keys.items()}
    for name, plan in PLANS.items():
        retry_batch(stack, plan, keys[name])
    for key in keys.values():
        wait_until_over(stack, key, "success")
    found: dict[str, Any] = {"cancelled": cancelled}
    for name, plan in PLANS.items():
        after = stack.batch(keys[name])
        found[name] = Retried(plan, before[name], after, stack.attempts(after["id"]))
    return found


@pytest.mark.parametrize("name", PLANS)
def test_a_retry_of_a_backfill_completes_its_one_record(
    stack: Stack, retried: dict[str, Any], name: str
) -> None:
    batch: Retried = retried[name]
    count = len(batch.plan.days)
    assert (batch.before["success_count"], batch.before["failed_count"]) == (count - 2, 2)
    assert batch.after["id"] == batch.before["id"]
    assert (batch.after["success_count"], batch.after["failed_count"]) == (count, 0)
    assert batch.after["error_message"] is None
    assert f"共{count}天, 成功{count}, 失败0, 跳过0" in batch.after["remarks"]
    assert stack.differing_days(batch.plan.dataset, batch.plan.days) == []
    # No other record was created for these days.
    others = stack.target(
        "SELECT batch_key FROM daily_sync_status WHERE kind = 'batch' AND dataset = %s"
        " AND start_date <= %s AND end_date >= %s AND id >= %s",
        [batch.plan.dataset, batch.plan.days[-1], batch.plan.days[0], batch.after["id"]],
    )
    assert others == [{"batch_key": batch.after["batch_key"]}]


@pytest.mark.parametrize("name", PLANS)
def test_only_the_unfinished_days_are_retried(retried: dict[str, Any], name: str) -> None:
    batch: Retried = retried[name]
    for day in batch.plan.days:
        states = batch.states(day)
        wanted = ["failed", "success"] if day in batch.plan.bad else ["success"]
        assert states == wanted, [a for a in batch.attempts if a["sync_date"] == day]


def test_a_backfill_cancelled_in_the_ui_shows_which_days_were_not_run(
    stack: Stack, retried: dict[str, Any]
) -> None:
    key = retried["cancelled"]
    record = stack.batch(key)
    kept = record["success_count"]
    assert 2 <= kept < len(CANCELLED)
    assert record["failed_count"] == len(CANCELLED) - kept
    assert f"cancelled in Dagster: backfill {key}" in record["error_message"]
    states = {a["sync_date"]: a for a in stack.attempts(record["id"])}
    for day in CANCELLED[kept + 1 :]:
        assert states[day]["error_message"] == f"not run: cancelled in Dagster: backfill {key}"
    running = states[CANCELLED[kept]]["error_message"]
    assert (
        running == f"cancelled in Dagster: backfill {key}; the day was running and was rolled back"
    )
    assert stack.rows_of("orders", CANCELLED[kept]) == []
    assert stack.differing_days("orders", CANCELLED[:kept]) == []
