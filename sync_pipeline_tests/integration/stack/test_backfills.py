"""A backfill launched as in the Dagster UI always has exactly one record, which is correct.

All backfills are launched at once and watched while they run; the tests then check the results.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor

from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

TIMEOUT_SECONDS = 600
PAUSE_SECONDS = 0.15
SCATTERED = [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]  # two day ranges
NOT_OVER = {"REQUESTED", "CANCELING", "COMPLETING", "FAILING"}


@dataclass
class Launched:
    """A backfill, its days, and all versions of its record that were seen while it ran."""

    stack: Stack
    dataset: str
    days: list[date]
    key: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def record(self) -> dict[str, Any]:
        return self.stack.batch(self.key)

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return self.stack.attempts(self.record["id"])

    def status(self) -> str:
        query = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status } } }"""
        answer = self.stack.dagster.graphql(query, {"id": self.key})
        return str(answer["partitionBackfillOrError"]["status"])

    def run_ids(self) -> list[str]:
        query = """query ($filter: RunsFilter!) { runsOrError(filter: $filter) {
            ... on Runs { results { runId } } } }"""
        tags = [{"key": "dagster/backfill", "value": self.key}]
        answer = self.stack.dagster.graphql(query, {"filter": {"tags": tags}})
        return [run["runId"] for run in answer["runsOrError"]["results"]]


@dataclass(frozen=True)
class Plan:
    dataset: str
    first: date
    offsets: list[int]
    by: str  # "asset" or "job"
    spoiled: int | None = None

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in self.offsets]


TEN = list(range(10))
PLANS = {
    "asset": Plan("orders", date(2024, 1, 1), TEN, "asset"),
    "asset scattered": Plan("orders", date(2024, 2, 1), SCATTERED, "asset"),
    "job": Plan("orders", date(2024, 3, 1), TEN, "job"),
    "job scattered": Plan("orders", date(2024, 4, 1), SCATTERED, "job"),
    "asset, many runs": Plan("events", date(2024, 1, 1), TEN, "asset"),
    "job, many runs": Plan("events", date(2024, 3, 1), TEN, "job"),
    "one bad day": Plan("orders", date(2024, 5, 1), TEN, "asset", spoiled=4),
    "one bad day, many runs": Plan("events", date(2024, 5, 1), TEN, "asset", spoiled=4),
}
GOOD = [name for name, plan in PLANS.items() if plan.spoiled is None]
BAD = [name for name, plan in PLANS.items() if plan.spoiled is not None]
RUNS = {"asset scattered": 2, "job scattered": 2, "asset, many runs": 5, "job, many runs": 5}


@pytest.fixture(scope="module")
def launched(stack: Stack) -> dict[str, Launched]:
    """Run all backfills in PLANS; return them with all observed versions of their records."""
    for plan in PLANS.values():
        stack.pause(plan.dataset, plan.days, PAUSE_SECONDS)
        if plan.spoiled is not None:
            _sync_once_then_spoil(stack, plan)
    found = {}
    for name, plan in PLANS.items():
        target = {"asset": plan.dataset} if plan.by == "asset" else {"job": _job(plan.dataset)}
        key = launch_backfill(stack.dagster, plan.days, **target)
        found[name] = Launched(stack, plan.dataset, plan.days, key)
    with _watching(stack, {one.key: one.seen for one in found.values()}):
        wait_until(
            lambda: not any(one.status() in NOT_OVER for one in found.values()), TIMEOUT_SECONDS
        )
    return found


def _job(dataset: str) -> str:
    return f"{dataset}_daily_sync"


def _sync_once_then_spoil(stack: Stack, plan: Plan) -> None:
    assert plan.spoiled is not None
    day = plan.days[plan.spoiled]
    run_id = stack.dagster.launch_job(
        _job(plan.dataset), tags={"dagster/partition": day.isoformat()}
    )
    wait_until(lambda: stack.dagster.run_status(run_id) == "SUCCESS", TIMEOUT_SECONDS)
    stack.spoil(plan.dataset, day)


@contextmanager
def _watching(stack: Stack, seen: dict[str, list[dict[str, Any]]]) -> Iterator[None]:
    """Collect all versions of the records with these keys while the block runs."""
    stopped = threading.Event()

    def watch() -> None:
        with (
            closing(psycopg2.connect(stack.settings.database_url)) as connection,
            connection.cursor(cursor_factory=RealDictCursor) as cursor,
        ):
            connection.autocommit = True
            while not stopped.wait(0.02):
                cursor.execute("SELECT * FROM daily_sync_status WHERE kind = 'batch'")
                for row in cursor.fetchall():
                    states = seen.get(row["batch_key"])
                    if states is not None and (not states or states[-1] != row):
                        states.append(dict(row))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()


@pytest.mark.parametrize("name", GOOD)
def test_a_successful_backfill_has_one_successful_record(
    launched: dict[str, Launched], name: str
) -> None:
    one = launched[name]
    record = one.record  # exactly one
    assert (record["status"], record["dataset"]) == ("success", one.dataset)
    assert (record["start_date"], record["end_date"]) == (one.days[0], one.days[-1])
    assert record["sync_date"] == one.days[0] + (one.days[-1] - one.days[0]) // 2
    counts = (record["success_count"], record["failed_count"], record["skipped_count"])
    assert (record["total_days"], *counts) == (10, 10, 0, 0)
    assert record["total_records"] == 10 * ROWS_PER_DAY
    minutes, seconds = divmod(record["duration_seconds"], 60)
    assert record["remarks"] == (
        f"批量同步完成: {one.days[0]}至{one.days[-1]}, 共10天, 成功10, 失败0, 跳过0, "
        f"耗时{minutes}分{seconds}秒"
    )
    assert one.status() == "COMPLETED_SUCCESS"
    assert len(one.run_ids()) == RUNS.get(name, 1)
    assert one.stack.differing_days(one.dataset, one.days) == []


@pytest.mark.parametrize("name", list(PLANS))
def test_the_record_is_opened_before_the_first_day_ends_and_closed_after_the_last(
    launched: dict[str, Launched], name: str
) -> None:
    one = launched[name]
    record, attempts = one.record, one.attempts
    assert record["created_at"] < min(attempt["ended_at"] for attempt in attempts)
    last = max(attempt["ended_at"] for attempt in attempts)
    assert abs(record["end_time"] - last) < timedelta(seconds=1)


@pytest.mark.parametrize("name", list(PLANS))
def test_the_progress_in_the_record_increases_day_by_day(
    launched: dict[str, Launched], name: str
) -> None:
    one = launched[name]
    done = [row["success_count"] + row["failed_count"] for row in one.seen]
    assert done == sorted(done)
    assert len(set(done)) >= 6, done  # of 11: two days may end between two reads
    for row in one.seen:
        finished = row["success_count"] + row["failed_count"]
        assert (row["status"] == "syncing") == (finished < 10)
        if row["status"] == "syncing" and finished:
            assert row["remarks"] == (
                f"批量同步进度: {finished}/10天, 成功{row['success_count']}, "
                f"失败{row['failed_count']}, 跳过0"
            )
    opened = one.seen[0]
    assert opened["remarks"] == f"批量同步: {one.days[0]} 至 {one.days[-1]}, 共10天"
    assert opened["triggered_by"] == f"backfill {one.key}"
    assert one.seen[-1]["run_id"] in one.run_ids()


@pytest.mark.parametrize("name", BAD)
def test_one_bad_day_of_ten_fails_the_batch_but_no_other_day(
    launched: dict[str, Launched], name: str
) -> None:
    one = launched[name]
    bad = PLANS[name].days[4]
    record = one.record
    assert (record["status"], record["success_count"], record["failed_count"]) == ("failed", 9, 1)
    assert record["error_message"].startswith(f"1 of 10 days failed: {bad}. First: {bad}: ")
    assert "violates check constraint" in record["error_message"]
    assert "Failing row" not in record["error_message"]
    assert "成功9, 失败1, 跳过0" in record["remarks"]
    assert one.status() == "COMPLETED_FAILED"
    kept = one.stack.rows_of(one.dataset, bad)
    assert [row["amount"] for row in kept] == [n * 10 for n in range(1, ROWS_PER_DAY + 1)]
    others = [day for day in one.days if day != bad]
    assert one.stack.differing_days(one.dataset, one.days) == [bad]
    assert one.stack.differing_days(one.dataset, others) == []


@pytest.mark.parametrize("name", BAD)
def test_dagster_shows_nine_materialized_days_and_one_failed_day(
    launched: dict[str, Launched], name: str
) -> None:
    one = launched[name]
    query = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
        ... on PartitionBackfill { assetBackfillData { assetBackfillStatuses {
            ... on AssetPartitionsStatusCounts {
                numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } } }"""
    answer = one.stack.dagster.graphql(query, {"id": one.key})
    (counts,) = answer["partitionBackfillOrError"]["assetBackfillData"]["assetBackfillStatuses"]
    assert counts == {
        "numPartitionsTargeted": 10,
        "numPartitionsMaterialized": 9,
        "numPartitionsFailed": 1,
    }


def test_each_day_is_materialized_with_its_rows_bytes_seconds_and_record(
    launched: dict[str, Launched],
) -> None:
    one = launched["asset"]
    query = """query ($key: AssetKeyInput!, $days: [String!]) { assetOrError(assetKey: $key) {
        ... on Asset { assetMaterializations(partitions: $days, limit: 50) {
            partition runId metadataEntries { label
                ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue }
                ... on TextMetadataEntry { text } } } } } }"""
    variables = {"key": {"path": [one.dataset]}, "days": [day.isoformat() for day in one.days]}
    found = one.stack.dagster.graphql(query, variables)["assetOrError"]["assetMaterializations"]
    assert sorted(event["partition"] for event in found) == sorted(variables["days"])
    attempts = {attempt["sync_date"].isoformat(): attempt for attempt in one.attempts}
    for event in found:
        entries = {entry["label"]: entry for entry in event["metadataEntries"]}
        attempt = attempts[event["partition"]]
        assert event["runId"] == attempt["run_id"]
        assert entries["rows"]["intValue"] == attempt["rows_loaded"] == ROWS_PER_DAY
        assert entries["bytes"]["intValue"] == attempt["bytes"] > 0
        assert entries["seconds"]["floatValue"] >= PAUSE_SECONDS
        (record,) = one.stack.target(
            "SELECT id FROM daily_sync_status WHERE kind = 'day' AND dataset = %s"
            " AND sync_date = %s",
            [one.dataset, event["partition"]],
        )
        assert entries["record"]["text"] == f"daily_sync_status, id {record['id']}"


def test_each_day_has_its_own_record(launched: dict[str, Launched]) -> None:
    one = launched["asset"]
    records = one.stack.target(
        "SELECT * FROM daily_sync_status WHERE kind = 'day' AND dataset = %s"
        " AND sync_date = ANY(%s) ORDER BY sync_date",
        [one.dataset, one.days],
    )
    assert [record["sync_date"] for record in records] == days(one.days[0], 10)
    for record in records:
        assert (record["status"], record["total_records"]) == ("success", ROWS_PER_DAY)
        assert "批量同步" not in record["remarks"]
