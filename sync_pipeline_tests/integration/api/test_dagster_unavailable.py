"""A hanging Dagster delays only the requests that need it; local URLs bypass HTTP proxies."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, LIST, PREVIEW, Client, Response
from sync_pipeline_tests.integration.api.conftest import UNREACHABLE, server_on
from sync_pipeline_tests.integration.api.wire import Wire, wire
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ONE_DAY = {"dataset": "orders", "start_date": "2025-12-01", "end_date": "2025-12-01"}


@pytest.fixture
def hanging() -> Iterator[Wire]:
    """An address that accepts connections but never responds."""
    with wire(UNREACHABLE) as made:
        made.hangs = True
        yield made


def timed_get(client: Client, path: str) -> tuple[Response, float]:
    began = time.monotonic()
    return client.get(path), time.monotonic() - began


def test_a_hanging_dagster_does_not_delay_lists_and_is_queried_once_for_all_callers(
    module_database: str, tmp_path: Path, hanging: Wire
) -> None:
    with (
        closing(psycopg2.connect(module_database)) as connection,
        server_on(module_database, tmp_path, SYNC_DAGSTER_WEBSERVER_URL=hanging.url) as client,
    ):
        helpers.execute(
            connection,
            "INSERT INTO daily_sync_status (sync_date, status, dataset)"
            " VALUES ('2025-01-01', 'syncing', 'orders')",
        )
        connection.commit()
        coverage = f"{BASE}/sync-status/coverage?dataset=orders"
        paths = [coverage, f"{BASE}/datasets", "/readyz"] * 20
        responses = helpers.at_once(
            [lambda path=path: timed_get(client, path) for path in paths]
            + [lambda: timed_get(client, LIST) for _ in range(20)]
        )
        by_path = dict(zip([*paths, *[LIST] * 20], responses, strict=True))
        assert by_path[LIST][0].status == by_path[coverage][0].status == 200
        assert by_path[f"{BASE}/datasets"][0].problem["status"] == 503
        assert by_path["/readyz"][0].json["dagster"].startswith("does not respond")
        assert max(seconds for response, seconds in responses[len(paths) :]) < 4
        assert max(seconds for response, seconds in responses) < 9
        # Dagster gets one request for the datasets, and one per second for readiness.
        assert hanging.waiting < 12


def test_known_datasets_are_returned_immediately_while_dagster_hangs(
    stack: Stack, tmp_path: Path
) -> None:
    url = stack.settings.database_url
    with (
        wire(stack.dagster.url) as to_dagster,
        server_on(url, tmp_path, SYNC_DAGSTER_WEBSERVER_URL=to_dagster.url) as client,
    ):
        known = client.get(f"{BASE}/datasets").data
        to_dagster.hangs = True
        began = time.monotonic()
        while not to_dagster.waiting:  # until the datasets have been refreshed
            response, seconds = timed_get(client, f"{BASE}/datasets")
            assert (response.data, seconds < 2) == (known, True)
            assert time.monotonic() - began < 30
        assert client.post(PREVIEW, ONE_DAY).status == 200
        response, seconds = timed_get(client, f"{BASE}/sync-status/coverage?dataset=orders")
        assert (response.data["first_day"], seconds < 2) == ("2024-01-01", True)


def test_http_proxy_is_ignored_for_a_dagster_on_this_machine(stack: Stack, tmp_path: Path) -> None:
    others = {
        "SYNC_DAGSTER_WEBSERVER_URL": stack.dagster.url,
        "http_proxy": UNREACHABLE,
        "HTTP_PROXY": UNREACHABLE,
    }
    with server_on(stack.settings.database_url, tmp_path, **others) as client:
        assert client.get("/readyz").json["dagster"] == "responds"
        refused = client.post(LAUNCH, {**ONE_DAY, "start_date": "1999-01-01"}).problem
        assert "before its first day" in refused["detail"]
