"""Records in the target database are written with the rows, however the URLs are spelled."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from sync_pipeline.settings import Settings
from sync_pipeline.tracking.worker.same_database import target_has_tables
from sync_pipeline_tests.integration.helpers import ROWS_PER_DAY, START, Pipeline, run

pytestmark = pytest.mark.integration

LOADER = "loader_without_records"


def another_url(url: str, **changes: str) -> str:
    """Return a URL of the same database that is spelled differently."""
    given = {"user": "postgres", **parse_dsn(url), **changes}
    user, database = given.pop("user"), given.pop("dbname")
    return f"postgresql://{user}@/{database}?{urlencode(given)}"


def recorded_rows(url: str) -> int:
    """Return how many rows the record of the first day says were loaded."""
    [(loaded,)] = run(url, "SELECT rows_loaded FROM sync_attempt WHERE state = 'success'")
    return int(loaded)


def needed_outbox(url: str) -> bool:
    """Return whether a day was recorded after the transaction that loaded it."""
    return run(url, "SELECT to_regclass('sync_outbox') IS NOT NULL") == [(True,)]


@pytest.fixture
def loader(database_url: str) -> Iterator[str]:
    """A URL of the target for a role that may create tables but has no access to the records."""
    run(database_url, f"CREATE ROLE {LOADER} LOGIN", f"GRANT CREATE ON SCHEMA public TO {LOADER}")
    yield another_url(database_url, user=LOADER)
    run(database_url, f"DROP OWNED BY {LOADER}", f"DROP ROLE {LOADER}")


def test_a_different_spelling_of_the_url_keeps_rows_and_record_in_one_transaction(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(parse_dsn(pipeline.target)["host"])
    tracking = another_url(pipeline.target, host=str(alias), application_name="records")
    aliased = Pipeline(pipeline.source, pipeline.target, tracking)
    assert [result.error for result in aliased.sync([START])] == [None]
    assert recorded_rows(pipeline.target) == ROWS_PER_DAY
    assert not needed_outbox(pipeline.target)


def test_a_target_user_who_can_write_the_records_writes_them_with_the_rows(
    pipeline: Pipeline, database_url: str, loader: str
) -> None:
    run(database_url, f"GRANT SELECT, UPDATE ON daily_sync_status, sync_attempt TO {LOADER}")
    with_role = Pipeline(pipeline.source, loader, database_url)
    assert [result.error for result in with_role.sync([START])] == [None]
    assert recorded_rows(database_url) == ROWS_PER_DAY
    assert not needed_outbox(database_url)


def test_a_target_user_who_cannot_write_the_records_leaves_them_to_the_other_user(
    pipeline: Pipeline, database_url: str, loader: str, caplog: pytest.LogCaptureFixture
) -> None:
    with_role = Pipeline(pipeline.source, loader, database_url)
    assert [result.error for result in with_role.sync([START])] == [None]
    assert recorded_rows(database_url) == ROWS_PER_DAY
    assert needed_outbox(database_url)
    assert caplog.messages == []


def test_tables_of_another_schema_are_not_the_ones_in_the_target(database_url: str) -> None:
    run(database_url, "CREATE SCHEMA other", "CREATE TABLE other.daily_sync_status ()")
    tracking = another_url(database_url, options="-csearch_path=other,public")
    assert not has_tables(database_url, tracking)
    assert has_tables(database_url, another_url(tracking, options="-csearch_path=public"))


def test_another_database_on_the_same_server_is_another_database(
    database_url: str, make_database: Callable[[str | None], str], migrated_template: str
) -> None:
    assert not has_tables(database_url, make_database(migrated_template))


def has_tables(target: str, tracking: str) -> bool:
    settings = Settings({"SYNC_DATABASE_URL": target, "SYNC_TRACKING_URL": tracking})
    with closing(psycopg2.connect(tracking)) as connection:
        return target_has_tables(connection, settings)
