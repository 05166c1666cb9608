"""Changes to code, datasets or tables during a batch do not affect the batch's record."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any

import pytest

from sync_pipeline_tests.command import run
from sync_pipeline_tests.integration.shared_stack import FIRST_DAY
from sync_pipeline_tests.stack_project import Stack, days, write_dataset
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TIMEOUT_SECONDS = 300
_RELOAD = """mutation { reloadRepositoryLocation(repositoryLocationName: "sync_pipeline") {
    __typename ... on WorkspaceLocationEntry { locationOrLoadError { __typename
        ... on PythonError { message } } } } }"""
_ASSETS = "query { assetNodes { assetKey { path } } }"
_TICKS = """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 5) { timestamp status error { message } } } } } }"""
# What a future migration may do: add columns and recreate a view.
_LATER_MIGRATION = """
ALTER TABLE daily_sync_status ADD COLUMN later text DEFAULT 'x';
ALTER TABLE sync_attempt ADD COLUMN later text DEFAULT 'x';
DROP VIEW sync_day_gap;
ALTER TABLE daily_sync_status DROP COLUMN later;
ALTER TABLE sync_attempt DROP COLUMN later;
CREATE VIEW sync_day_gap AS SELECT dataset, sync_date AS start_date, sync_date AS end_date,
    1 AS total_days FROM sync_day_coverage WHERE state IN ('missing', 'failed');
"""


def reload(stack: Stack) -> None:
    """Reload the code location from the project's folder."""
    answer = stack.dagster.graphql(_RELOAD)["reloadRepositoryLocation"]
    assert answer["locationOrLoadError"]["__typename"] == "RepositoryLocation", answer


def assets(stack: Stack) -> set[str]:
    return {node["assetKey"]["path"][0] for node in stack.dagster.graphql(_ASSETS)["assetNodes"]}


def start_batch(stack: Stack, dataset: str, of: list[date]) -> str:
    """Start a batch of slow days; return its key once two days are synced."""
    stack.pause(dataset, of, 0.3)
    request = {"dataset": dataset, "start_date": str(of[0]), "end_date": str(of[-1])}
    key = stack.dagster.launch_job("batch_backfill", config=request)
    wait_until(lambda: [row for row in stack.batches(key) if row["success_count"] >= 2])
    return key


def end_of_batch(stack: Stack, key: str) -> dict[str, Any]:
    wait_until(lambda: stack.batch(key)["status"] != "syncing", TIMEOUT_SECONDS)
    wait_until(lambda: stack.dagster.run_status(key) in ("SUCCESS", "FAILURE"), TIMEOUT_SECONDS)
    return stack.batch(key)


@contextmanager
def another_dataset(stack: Stack, name: str) -> Iterator[None]:
    """Add a dataset to the project during the block; remove its folder afterwards."""
    stack.make_dataset(name, FIRST_DAY)
    folder = write_dataset(stack.settings.project_dir, name, "single_run", FIRST_DAY)
    try:
        reload(stack)
        assert name in assets(stack)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        reload(stack)


def test_reloading_the_code_during_a_batch_does_not_affect_it(stack: Stack) -> None:
    of = days(date(2024, 8, 1), 10)
    key = start_batch(stack, "events", of)
    reload(stack)
    record = end_of_batch(stack, key)
    assert (record["status"], record["success_count"]) == ("success", 10)
    assert stack.differing_days("events", of) == []


def test_removing_a_dataset_during_its_batch_leaves_a_correct_record_and_healthy_sensors(
    stack: Stack,
) -> None:
    of = days(date(2024, 1, 1), 10)
    with another_dataset(stack, "parcels"):
        stack.spoil("parcels", of[7])
        key = start_batch(stack, "parcels", of)
    assert "parcels" not in assets(stack)
    removed_at = stack.target("SELECT extract(epoch FROM now()) AS now")[0]["now"]
    record = end_of_batch(stack, key)
    assert (record["status"], record["success_count"]) == ("failed", 9)
    assert record["error_message"].startswith(f"1 of 10 days failed: {of[7]}")
    assert stack.differing_days("parcels", of) == [of[7]]

    ended = run(stack.settings.environment, "status", record["id"])
    assert ended.code == 0
    assert "parcels" in ended.out
    ended = run(stack.settings.environment, "retry", record["id"])
    assert ended.code == 2
    assert (
        "dataset 'parcels' not found; known datasets: deliveries, events, history, orders"
        in ended.complaint
    )
    assert stack.batch(key) == record
    for sensor in ("reconcile", "record_backfills", "record_run_failure"):
        wait_until(partial(has_ticked, stack, sensor, float(removed_at)))


def has_ticked(stack: Stack, sensor: str, since: float) -> bool:
    """Return whether the sensor has ticked since `since`; assert that no tick failed."""
    selector = {
        "repositoryLocationName": "sync_pipeline",
        "repositoryName": "__repository__",
        "sensorName": sensor,
    }
    answer = stack.dagster.graphql(_TICKS, {"selector": selector})
    ticks = [t for t in answer["sensorOrError"]["sensorState"]["ticks"] if t["timestamp"] > since]
    assert all(tick["status"] != "FAILURE" for tick in ticks), ticks
    return any(tick["status"] in ("SUCCESS", "SKIPPED") for tick in ticks)


def test_a_migration_during_a_batch_is_applied_and_the_batch_continues(stack: Stack) -> None:
    of = days(date(2024, 8, 12), 18)
    key = start_batch(stack, "events", of)
    while_syncing = 0
    for _ in range(3):
        stack.target(_LATER_MIGRATION)
        ended = run(stack.settings.environment, "migrate")
        assert (ended.code, ended.errors) == (0, "")
        while_syncing += stack.batch(key)["status"] == "syncing"
    assert while_syncing, "the batch ended before the migrations"
    record = end_of_batch(stack, key)
    assert (record["status"], record["success_count"]) == ("success", 18)
    assert stack.differing_days("events", of) == []
