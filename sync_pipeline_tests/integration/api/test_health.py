"""Liveness, readiness, metrics and server startup."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sync_pipeline_tests import command
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, LIST, Client
from sync_pipeline_tests.integration.api.conftest import server_on

pytestmark = pytest.mark.integration


def test_the_server_is_ready_with_tables_at_its_version(alone: Client) -> None:
    assert (alone.get("/healthz").status, alone.get("/healthz").body) == (200, b"ok\n")
    ready = alone.get("/readyz")
    assert (ready.status, ready.json["ready"]) == (200, True)
    assert ready.json["dagster"].startswith("does not respond")


def test_the_server_is_alive_but_not_ready_without_tables(
    make_database: Callable[[str | None], str], tmp_path: Path
) -> None:
    with server_on(make_database(None), tmp_path) as client:
        assert client.get("/healthz").status == 200
        ready = client.get("/readyz")
        assert (ready.status, ready.json["ready"]) == (503, False)
        assert client.get(LIST).problem["status"] == 503
        assert b"sync_up 0.0" in client.get("/metrics").body


def test_the_metrics_are_computed_from_the_records(alone: Client, module_database: str) -> None:
    helpers.run(
        module_database,
        "INSERT INTO daily_sync_status (sync_date, status, dataset, total_records, success_count,"
        " end_time) VALUES ('2025-01-01', 'success', 'orders', 10, 10, now() - interval '1 hour'),"
        " ('2025-01-02', 'success', 'orders', 5, 5, now() - interval '1 min'),"
        " ('2025-01-03', 'failed', 'orders', 0, 0, now())",
        "INSERT INTO daily_sync_status (sync_date, status, dataset, remarks)"
        " VALUES ('2025-01-01', 'syncing', 'orders', '批量同步: x')",
    )
    alone.get(LIST)
    text = alone.get("/metrics").body.decode()
    metrics = dict(re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.M))
    assert metrics["sync_up"] == "1.0"
    assert metrics["sync_running_batches"] == "1.0"
    assert metrics['sync_batches{dataset="orders",status="syncing"}'] == "1.0"
    assert metrics['sync_days{dataset="orders",status="success"}'] == "2.0"
    assert metrics['sync_days{dataset="orders",status="failed"}'] == "1.0"
    assert metrics['sync_rows{dataset="orders"}'] == "15.0"
    last = float(metrics['sync_last_success_timestamp_seconds{dataset="orders"}'])
    assert 59 < time.time() - last < 120
    series = 'sync_api_requests_total{method="GET",route="/api/v1/sync-status/list",status="200"}'
    assert float(metrics[series]) >= 1


def test_unknown_paths_and_methods_are_counted_as_other(alone: Client) -> None:
    alone.get(f"{BASE}/nowhere/{'x' * 20}")
    alone.send("BREW", LIST)
    alone.send("GET", LIST, headers={"Host": "evil.example"})
    alone.send("POST", LIST, b"x", {"Content-Type": "text/plain"})
    series = re.findall(r"sync_api_requests_total\{(.*)\}", alone.get("/metrics").body.decode())
    assert 'method="GET",route="other",status="404"' in series
    assert 'method="GET",route="other",status="421"' in series
    assert 'method="POST",route="other",status="415"' in series
    assert [one for one in series if "BREW" in one or "nowhere" in one or "v1other" in one] == []


@pytest.mark.parametrize("path", ["/", "/sync-status", "/sync-status/12", "/sync-status/calendar"])
def test_the_pages_paths_are_served(alone: Client, path: str) -> None:
    response = alone.get(path)
    if path == "/":
        assert (response.status, response.headers["location"]) == (307, "/sync-status")
    else:
        assert response.status in (200, 404)
        assert b"/api/v1/sync-status/list" not in response.body or response.status == 200


def test_the_server_never_imports_dagster_or_the_datasets() -> None:
    program = (
        "import sys; import sync_pipeline.api.server, sync_pipeline.api.__main__;"
        "from sync_pipeline.api.app import create_app; from sync_pipeline.api.config import Config;"
        "create_app(Config('postgresql://x/y', 'SYNC_DATABASE_URL'))[1];"
        "print([m for m in sys.modules if m.split('.')[0].startswith('dagster')"
        " or m.startswith(('sync_pipeline.orchestration', 'sync_pipeline.datasets'))])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"


def test_a_used_port_is_reported_in_one_line(alone: Client, module_database: str) -> None:
    port = alone.url.rsplit(":", 1)[1]
    ended = command.run({"SYNC_API_TRACKING_URL": module_database}, "api", "--port", port)
    assert (ended.code, ended.out) == (3, "")
    assert f"cannot listen on 127.0.0.1 port {port}: " in ended.complaint
    assert alone.get(f"{BASE}/me").data["user"] == "local"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_command_prints_its_urls_once_it_serves(module_database: str, host: str) -> None:
    environment = {"SYNC_API_TRACKING_URL": module_database}
    with command.started(environment, "api", "--host", host, "--port", "0") as process:
        assert process.stdout is not None
        output = re.fullmatch(
            r"page: (\S+)/sync-status    API: \1/api/v1\n", process.stdout.readline()
        )
        assert output
        assert Client(output[1]).get("/healthz").status == 200
