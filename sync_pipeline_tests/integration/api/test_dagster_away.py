"""A Dagster that hangs, or that the environment would ask through a proxy, costs nobody but who
needs it."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, LIST, PREVIEW, Answer, Client
from sync_pipeline_tests.integration.api.conftest import NOBODY, server_on
from sync_pipeline_tests.integration.api.wire import Wire, wire
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ONE_DAY = {"dataset": "orders", "start_date": "2025-12-01", "end_date": "2025-12-01"}


@pytest.fixture
def clogged() -> Iterator[Wire]:
    """Where a Dagster lets everybody in and never says anything."""
    with wire(NOBODY) as made:
        made.clogged = True
        yield made


def took(client: Client, path: str) -> tuple[Answer, float]:
    began = time.monotonic()
    return client.get(path), time.monotonic() - began


def test_a_dagster_that_never_answered_holds_up_no_list_and_is_not_asked_by_each(
    module_database: str, tmp_path: Path, clogged: Wire
) -> None:
    with (
        closing(psycopg2.connect(module_database)) as connection,
        server_on(module_database, tmp_path, SYNC_DAGSTER_WEBSERVER_URL=clogged.url) as client,
    ):
        helpers.execute(
            connection,
            "INSERT INTO daily_sync_status (sync_date, status, dataset)"
            " VALUES ('2025-01-01', 'syncing', 'orders')",
        )
        connection.commit()
        coverage = f"{BASE}/sync-status/coverage?dataset=orders"
        asked = [coverage, f"{BASE}/datasets", "/readyz"] * 20
        answers = helpers.at_once(
            [lambda path=path: took(client, path) for path in asked]
            + [lambda: took(client, LIST) for _ in range(20)]
        )
        of = dict(zip([*asked, *[LIST] * 20], answers, strict=True))
        assert of[LIST][0].status == of[coverage][0].status == 200
        assert of[f"{BASE}/datasets"][0].problem["status"] == 503
        assert of["/readyz"][0].json["dagster"].startswith("does not answer")
        assert max(seconds for answer, seconds in answers[len(asked) :]) < 4
        assert max(seconds for answer, seconds in answers) < 9
        # Of the datasets once, of its readiness once in each of its seconds.
        assert clogged.waiting < 12


def test_the_datasets_known_before_stand_at_once_while_dagster_hangs(
    stack: Stack, tmp_path: Path
) -> None:
    url = stack.settings.database_url
    with (
        wire(stack.dagster.url) as to_dagster,
        server_on(url, tmp_path, SYNC_DAGSTER_WEBSERVER_URL=to_dagster.url) as client,
    ):
        known = client.get(f"{BASE}/datasets").data
        to_dagster.clogged = True
        began = time.monotonic()
        while not to_dagster.waiting:  # until it asks again
            answer, seconds = took(client, f"{BASE}/datasets")
            assert (answer.data, seconds < 2) == (known, True)
            assert time.monotonic() - began < 30
        assert client.post(PREVIEW, ONE_DAY).status == 200
        answer, seconds = took(client, f"{BASE}/sync-status/coverage?dataset=orders")
        assert (answer.data["first_day"], seconds < 2) == ("2025-01-01", True)


def test_a_proxy_of_the_environment_is_not_asked_for_what_is_on_this_machine(
    stack: Stack, tmp_path: Path
) -> None:
    others = {
        "SYNC_DAGSTER_WEBSERVER_URL": stack.dagster.url,
        "http_proxy": NOBODY,
        "HTTP_PROXY": NOBODY,
    }
    with server_on(stack.settings.database_url, tmp_path, **others) as client:
        assert client.get("/readyz").json["dagster"] == "answers"
        refused = client.post(LAUNCH, {**ONE_DAY, "start_date": "1999-01-01"}).problem
        assert "before its first day" in refused["detail"]
