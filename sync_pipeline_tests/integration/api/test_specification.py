"""The curl calls in the specification work as printed, apart from the port."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sync_pipeline.api.server import run_api
from sync_pipeline.local.processes import free_port
from sync_pipeline_tests import stack_project
from sync_pipeline_tests.integration.api.client import BASE, Client
from sync_pipeline_tests.stack_project import Databases, Stack
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

LIST = 'curl "http://localhost:8000/api/v1/sync-status/list?page=1&page_size=50"'
LAUNCH = r"""curl -X POST "http://localhost:8000/api/v1/sync-status/sync/batch" \
  -H "Content-Type: application/json" \
  -d '{"start_date": "2025-10-01", "end_date": "2025-10-10"}'
"""
BODY = {"start_date": "2025-10-01", "end_date": "2025-10-10"}
PRINTED_FIELDS = {  # the fields of the record in the specification's example
    *("id", "sync_date", "status", "total_records", "success_count", "failed_count", "remarks"),
    "start_time",
}


@pytest.fixture(scope="module")
def lone(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, Databases]]:
    """A server whose Dagster has a single dataset, as in the specification."""
    folder = tmp_path_factory.mktemp("lone")
    with (
        stack_project.project(make_database, folder, {"orders": "single_run"}) as made,
        stack_project.run_dagster(made.settings) as dagster,
        run_api(made.settings, free_port(0), SYNC_DAGSTER_WEBSERVER_URL=dagster.url) as running,
    ):
        yield Client(running.url), made


def test_the_specified_launch_succeeds_if_there_is_one_dataset(
    lone: tuple[Client, Databases],
) -> None:
    api, made = lone
    launched = curl(api, LAUNCH)
    assert launched["status"] == "success"
    record = launched["data"]["record"]
    assert (record["status"], record["dataset"], record["sync_date"]) == (
        *("syncing", "orders", "2025-10-05"),
    )
    ended = api.wait_for(record["id"], "success", "failed")
    assert (ended["status"], ended["success_count"]) == ("success", 10)
    (listed,) = [r for r in curl(api, LIST)["data"]["records"] if r["kind"] == "batch"]
    assert listed["remarks"].startswith("批量同步完成: 2025-10-01至2025-10-10, 共10天")
    batch_days = stack_project.days(stack_project.START.replace(month=10), 10)
    assert made.differing_days("orders", batch_days) == []
    coverage = api.get(f"{BASE}/sync-status/coverage").data
    assert (coverage["dataset"], coverage["counts"]["success"]) == ("orders", 10)
    assert api.post(f"{BASE}/sync-status/sync/batch/preview", BODY).data["dataset"] == "orders"


def curl(api: Client, printed: str) -> Any:
    """Run a printed curl command against this server; return the JSON response."""
    line = printed.replace("http://localhost:8000", api.url).replace("curl", "curl -sS", 1)
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_the_list_returns_the_specified_envelope(api: Client) -> None:
    response = curl(api, LIST)
    assert response["status"] == "success"
    assert isinstance(response["data"]["records"], list)


def test_a_launched_batch_is_listed_with_its_remarks_and_progress(
    api: Client, stack: Stack
) -> None:
    problem = curl(api, LAUNCH)  # this stack has several datasets
    assert (
        problem["detail"]
        == "several datasets exist; name one of: deliveries, events, history, orders"
    )
    named = LAUNCH.replace('{"start', '{"dataset": "orders", "start')
    launched = curl(api, named)["data"]["record"]
    assert launched["status"] == "syncing"
    seen: list[str] = []

    def is_synced() -> bool:
        records = curl(api, LIST)["data"]["records"]
        (record,) = [one for one in records if one["id"] == launched["id"]]
        assert set(record) >= PRINTED_FIELDS
        assert "批量同步" in record["remarks"]
        seen.append(record["remarks"])
        return bool(record["status"] == "success")

    days = stack_project.days(stack_project.START.replace(month=10), 10)
    stack.pause("orders", days, 0.2)
    wait_until(is_synced)
    stack.pause("orders", days, 0)
    assert [text for text in seen if re.search(r"(\d+)/(\d+)天", text)]
    assert seen[-1].startswith("批量同步完成: 2025-10-01至2025-10-10, 共10天")
