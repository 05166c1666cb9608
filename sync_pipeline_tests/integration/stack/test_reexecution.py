"""Dagster's own ways to do a batch again, and to cancel one: all of them in the batch's one record.

The daemon looks for backfills twice a minute only, so what needs one is launched all at once: first
the backfills, some of which fail and one of which is cancelled, then what takes each up again.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.command import run
from sync_pipeline_tests.stack_project import Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TIMEOUT_SECONDS = 120
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
    """A backfill with two bad days, and how it is taken up again once they are mended."""

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
    "in whole": Plan("orders", days(date(2024, 7, 11), 5), "ALL_STEPS"),
    "from failure, many runs": Plan("events", days(date(2024, 2, 1), 6), "FROM_FAILURE"),
    # From failure, Dagster 1.13 cannot do a job's backfill of several days a run.
    "job, in whole": Plan("events", days(date(2024, 4, 1), 6), "ALL_STEPS", by_job=True),
    "its runs, from failure": Plan("events", days(date(2024, 6, 1), 6), "runs"),
    "by command, scattered": Plan("orders", SCATTERED, "retry"),
}
CANCELLED = days(date(2024, 8, 11), 20)


@dataclass(frozen=True)
class Again:
    """A batch record when its backfill was over, and after it was taken up again."""

    plan: Plan
    before: dict[str, Any]
    after: dict[str, Any]
    attempts: list[dict[str, Any]]

    def tries(self, day: date) -> list[str]:
        return [a["state"] for a in self.attempts if a["sync_date"] == day]


def backfill_status(stack: Stack, key: str) -> str:
    return str(stack.dagster.graphql(_BACKFILL, {"id": key})["partitionBackfillOrError"]["status"])


def runs_of(stack: Stack, **tags: str) -> dict[str, str]:
    """Runs with these tags, with their statuses."""
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
    """Mend the bad days and ask for the batch again, without waiting for it."""
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
    """Wait for the end of the backfill, and for its record to say so."""
    wait_until(lambda: backfill_status(stack, key) in OVER, TIMEOUT_SECONDS)
    try:
        wait_until(lambda: stack.batch(key)["status"] == status, TIMEOUT_SECONDS)
    except AssertionError:
        raise AssertionError(f"never {status}: {stack.batch(key)}") from None


@pytest.fixture(scope="module")
def taken_up(stack: Stack) -> dict[str, Any]:
    """Every plan, done and done again; and the key of a backfill that was cancelled meanwhile."""
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
        found[name] = Again(plan, before[name], after, stack.attempts(after["id"]))
    return found


@pytest.mark.parametrize("name", PLANS)
def test_what_takes_a_backfill_up_again_completes_its_one_record(
    stack: Stack, taken_up: dict[str, Any], name: str
) -> None:
    again: Again = taken_up[name]
    count = len(again.plan.days)
    assert (again.before["success_count"], again.before["failed_count"]) == (count - 2, 2)
    assert again.after["id"] == again.before["id"]
    assert (again.after["success_count"], again.after["failed_count"]) == (count, 0)
    assert again.after["error_message"] is None
    assert f"共{count}天, 成功{count}, 失败0, 跳过0" in again.after["remarks"]
    assert stack.differing_days(again.plan.dataset, again.plan.days) == []
    # No other record was opened for these days.
    others = stack.target(
        "SELECT batch_key FROM daily_sync_status WHERE kind = 'batch' AND dataset = %s"
        " AND start_date <= %s AND end_date >= %s AND id >= %s",
        [again.plan.dataset, again.plan.days[-1], again.plan.days[0], again.after["id"]],
    )
    assert others == [{"batch_key": again.after["batch_key"]}]


@pytest.mark.parametrize("name", PLANS)
def test_only_the_unfinished_days_are_done_again(taken_up: dict[str, Any], name: str) -> None:
    again: Again = taken_up[name]
    for day in again.plan.days:
        tries = again.tries(day)
        wanted = ["failed", "success"] if day in again.plan.bad else ["success"]
        assert tries == wanted, [a for a in again.attempts if a["sync_date"] == day]


def test_a_backfill_cancelled_in_the_ui_says_so_and_names_the_days_not_run(
    stack: Stack, taken_up: dict[str, Any]
) -> None:
    key = taken_up["cancelled"]
    record = stack.batch(key)
    kept = record["success_count"]
    assert 2 <= kept < len(CANCELLED)
    assert record["failed_count"] == len(CANCELLED) - kept
    assert f"cancelled in Dagster: backfill {key}" in record["error_message"]
    states = {a["sync_date"]: a for a in stack.attempts(record["id"])}
    for day in CANCELLED[kept + 1 :]:
        assert states[day]["error_message"] == f"not run: cancelled in Dagster: backfill {key}"
    assert "the day was rolled back" in states[CANCELLED[kept]]["error_message"]
    assert stack.rows_of("orders", CANCELLED[kept]) == []
    assert stack.differing_days("orders", CANCELLED[:kept]) == []
