"""The specification's calls work as they are printed there, with curl; only the port is another."""

import json
import re
import subprocess
from typing import Any

import pytest

from sync_pipeline_tests import stack_project
from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.integration.api.client import Client
from sync_pipeline_tests.stack_project import Stack

pytestmark = pytest.mark.integration

LIST = 'curl "http://localhost:8000/api/v1/sync-status/list?page=1&page_size=50"'
LAUNCH = r"""curl -X POST "http://localhost:8000/api/v1/sync-status/sync/batch" \
  -H "Content-Type: application/json" \
  -d '{"start_date": "2025-10-01", "end_date": "2025-10-10"}'
"""
SHOWN = {  # of the example's record, what a program that was written for it reads
    *("id", "sync_date", "status", "total_records", "success_count", "failed_count", "remarks"),
    "start_time",
}


def curl(api: Client, printed: str) -> Any:
    """Run a line of the specification against this server."""
    line = printed.replace("http://localhost:8000", api.url).replace("curl", "curl -sS", 1)
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_the_list_answers_in_the_envelope_that_is_printed(api: Client) -> None:
    answer = curl(api, LIST)
    assert answer["status"] == "success"
    assert isinstance(answer["data"]["records"], list)


def test_a_batch_is_launched_and_found_in_the_list_by_its_remarks_and_progress(
    api: Client, stack: Stack
) -> None:
    problem = curl(api, LAUNCH)  # this stack has several datasets
    assert problem["detail"] == "name the dataset, one of: deliveries, events, orders"
    named = LAUNCH.replace('{"start', '{"dataset": "orders", "start')
    launched = curl(api, named)["data"]["record"]
    assert launched["status"] == "syncing"
    seen: list[str] = []

    def is_over() -> bool:
        records = curl(api, LIST)["data"]["records"]
        (record,) = [one for one in records if one["id"] == launched["id"]]
        assert set(record) >= SHOWN
        assert "批量同步" in record["remarks"]
        seen.append(record["remarks"])
        return bool(record["status"] == "success")

    days = stack_project.days(stack_project.START.replace(month=10), 10)
    stack.pause("orders", days, 0.2)
    wait_until(is_over)
    stack.pause("orders", days, 0)
    assert [text for text in seen if re.search(r"(\d+)/(\d+)天", text)]
    assert seen[-1].startswith("批量同步完成: 2025-10-01至2025-10-10, 共10天")
