"""The API's own database role can read records and launch batches but not change history."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from sync_pipeline.database.migrate import migrate
from sync_pipeline.settings import PROJECT_ROOT
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, LIST, Client
from sync_pipeline_tests.integration.api.conftest import server_on
from sync_pipeline_tests.stack_project import Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

GRANTS = PROJECT_ROOT / "deploy" / "api_role.sql"


@pytest.fixture(scope="module")
def role_url(stack: Stack) -> Iterator[str]:
    """The stack's database URL for the API's role, which deploy/api_role.sql creates."""
    url = stack.settings.database_url
    dsn = parse_dsn(url)
    role = f"{dsn['dbname']}_api"
    helpers.run(url, f"CREATE ROLE {role} LOGIN PASSWORD 'a b'")
    helpers.run(url, GRANTS.read_text("utf-8").replace("sync_api", role))
    host, port = dsn.get("host", "127.0.0.1"), dsn.get("port", "5432")
    yield f"postgresql://{role}:a%20b@/{dsn['dbname']}?host={host}&port={port}"
    helpers.run(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.fixture(scope="module")
def limited(
    stack: Stack, role_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A server that connects to the database only as the API's role."""
    others = {"SYNC_API_TRACKING_URL": role_url, "SYNC_DAGSTER_WEBSERVER_URL": stack.dagster.url}
    with server_on("", tmp_path_factory.mktemp("role"), **others) as client:
        yield client


def launch(client: Client, batch_days: list[date]) -> int:
    body = {"dataset": "orders", "start_date": str(batch_days[0]), "end_date": str(batch_days[-1])}
    return int(client.post(LAUNCH, body).data["record_id"])


def test_the_role_can_launch_cancel_retry_and_read_everything(
    limited: Client, stack: Stack
) -> None:
    batch_days = days(date(2025, 5, 1), 12)
    stack.pause("orders", batch_days, 0.4)
    with limited.events() as events:
        record_id = launch(limited, batch_days)
        wait_until(lambda: limited.record(record_id)["success_count"] >= 1)
        assert limited.post(f"{BASE}/sync-status/{record_id}/cancel").status == 202
        limited.wait_for(record_id, "failed")
        stack.pause("orders", batch_days, 0)
        assert limited.post(f"{BASE}/sync-status/{record_id}/retry").status == 202
        assert limited.wait_for(record_id, "success")["success_count"] == 12
        events.wait(lambda r: r["id"] == record_id and r["status"] == "success")
    query = {"dataset": "orders", "from_": batch_days[0], "to": batch_days[-1]}
    assert limited.get(f"{BASE}/sync-status/coverage", **query).data["counts"]["success"] == 12
    assert limited.get(LIST).data["records"]
    assert limited.get("/readyz").json["ready"]
    assert b"sync_up 1.0" in limited.get("/metrics").body


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE daily_sync_status SET status = 'success'",
        "UPDATE daily_sync_status SET remarks = NULL WHERE false",
        "DELETE FROM daily_sync_status",
        "DELETE FROM sync_attempt",
        "TRUNCATE sync_attempt",
        "INSERT INTO daily_sync_status (sync_date, status) VALUES ('2025-01-01', 'success')",
        "INSERT INTO sync_attempt (dataset, sync_date) VALUES ('orders', '2025-01-01')",
        "UPDATE sync_attempt SET state = 'success'",
        "SELECT * FROM daily_sync_status FOR UPDATE",
        "DROP TABLE daily_sync_status",
        "ALTER TABLE daily_sync_status DISABLE TRIGGER ALL",
        "SELECT setval('daily_sync_status_change', 1)",
        "SELECT nextval('daily_sync_status_change')",
        "SELECT * FROM orders",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT sync_request_batch('cli-1', 'orders', '{2025-01-01}', 'x', 'skip')",
        "SELECT sync_open_batch('cli-1', 'orders', '{2025-01-01}', 'run-1', 'x', 'skip')",
        "SELECT sync_fail_run(run_id, 'x') FROM sync_attempt WHERE run_id IS NOT NULL",
    ],
)
def test_the_role_cannot_change_history_with_sql(role_url: str, statement: str) -> None:
    with pytest.raises(psycopg2.Error) as caught:
        helpers.run(role_url, statement)
    assert caught.value.pgcode in ("42501", "P0001")


def test_the_roles_functions_do_not_change_closed_records_or_days(
    role_url: str, limited: Client, stack: Stack
) -> None:
    record_id = launch(limited, days(date(2025, 5, 21), 2))
    limited.wait_for(record_id, "success")
    query = "SELECT * FROM daily_sync_status ORDER BY id"
    # materialized_at is written shortly after a batch closes.
    attempts_query = (
        "SELECT id, state, superseded, error_message, ended_at FROM sync_attempt ORDER BY 1"
    )
    before, attempts = stack.target(query), stack.target(attempts_query)
    for row in before:
        with pytest.raises(psycopg2.errors.NoDataFound, match=f"record {row['id']} "):
            helpers.run(role_url, f"SELECT sync_cancel_pending({row['id']}, 'x', 'y')")
        if row["status"] != "failed" or row["kind"] == "day":
            with pytest.raises(psycopg2.errors.NoDataFound, match=f"record {row['id']} "):
                helpers.run(role_url, f"SELECT sync_retry_batch({row['id']}, 'x')")
    assert stack.target(query) == before
    assert stack.target(attempts_query) == attempts


def test_the_tables_may_be_in_a_schema_other_than_public(
    make_database: Callable[[str | None], str], tmp_path: Path
) -> None:
    url = make_database(None)
    dsn = parse_dsn(url)
    role = f"{dsn['dbname']}_api"
    schema_option = "options=-csearch_path%3Drecords"
    owner = f"{url}{'&' if '?' in url else '?'}{schema_option}"
    helpers.run(url, f"CREATE ROLE {role} LOGIN PASSWORD 'a b'", "CREATE SCHEMA records")
    migrate(owner, "SYNC_DATABASE_URL")
    helpers.run(
        url, "SET search_path TO records", GRANTS.read_text("utf-8").replace("sync_api", role)
    )
    host, port = dsn.get("host", "127.0.0.1"), dsn.get("port", "5432")
    role_url = f"postgresql://{role}:a%20b@/{dsn['dbname']}?host={host}&port={port}&{schema_option}"
    with server_on("", tmp_path, SYNC_API_TRACKING_URL=role_url) as client:
        assert client.get("/readyz").json["ready"]
        assert client.get(LIST).data["records"] == []
    helpers.run(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_temporary_tables_do_not_replace_the_real_ones(
    role_url: str, stack: Stack, tmp_path: Path
) -> None:
    key = f"api-{tmp_path.name}"
    opened = helpers.run(
        role_url,
        "CREATE TEMP TABLE daily_sync_status (LIKE daily_sync_status INCLUDING DEFAULTS)",
        "CREATE TEMP TABLE sync_attempt (LIKE sync_attempt INCLUDING DEFAULTS)",
        f"SELECT sync_request_batch('{key}', 'orders', '{{2025-05-25}}', 'x', 'skip')",
    )
    assert stack.batch(key)["id"] == opened[0][0]
    helpers.run(
        stack.settings.database_url, f"DELETE FROM daily_sync_status WHERE batch_key = '{key}'"
    )
