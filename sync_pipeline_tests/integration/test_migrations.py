"""Migrations run once, completely or not at all, and never on a newer database."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from functools import partial

import psycopg2
import pytest

from sync_pipeline.config.reserved_tables import OWN_TABLES
from sync_pipeline.database.migrate import VERSION_TABLE, check_version, code_version, migrate
from sync_pipeline.errors import MigrationError
from sync_pipeline.settings import with_database
from sync_pipeline_tests.conftest import drop_database
from sync_pipeline_tests.integration.helpers import (
    START,
    TIMEOUT_SECONDS,
    at_once,
    in_thread,
    open_batch,
    run,
    wait_until_blocked,
)

pytestmark = pytest.mark.integration

SETTING = "SYNC_TRACKING_URL"
TABLES = {
    *("daily_sync_status", "sync_attempt", "sync_worker", "sync_correction"),
    "sync_source_columns",
    VERSION_TABLE,
}
VIEWS = {
    "sync_batch_progress",
    "sync_day_coverage",
    "sync_day_gap",
    "sync_slowest_day",
    "sync_success_rate_by_week",
}

FUNCTIONS = {
    *("daily_sync_status_fill", "daily_sync_status_number", "daily_sync_status_notify"),
    *("sync_day_remarks", "sync_batch_remarks", "sync_day_ranges", "sync_batch_error"),
    *("sync_open_batch", "sync_plan_days", "sync_retry_days", "sync_mark_not_run"),
    *("sync_project_batch", "sync_project_batches", "sync_begin_day", "sync_record_outcome"),
    *("sync_begin_late", "sync_refuse_day", "sync_skip_days", "sync_close_attempts"),
    *("sync_fail_run", "sync_record_replay", "sync_invalidate_days"),
    "sync_explain_interrupted",
    *("sync_request_batch", "sync_retry_batch", "sync_cancel_pending"),
}


@pytest.fixture
def empty_url(make_database: Callable[[str | None], str], server_url: str) -> Iterator[str]:
    url = make_database(None)
    yield url
    drop_database(server_url, name_of(url))


@pytest.fixture
def unprivileged_url(empty_url: str, server_url: str) -> Iterator[str]:
    """Yield the empty database's URL for a user who may connect but do nothing else."""
    role = f"{name_of(empty_url)}_unprivileged"
    run(
        empty_url,
        f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    options = psycopg2.extensions.parse_dsn(empty_url)
    host = options.get("host", "127.0.0.1")
    yield (
        f"postgresql://{role}:hunter2@/{options['dbname']}?host={host}"
        f"&port={options.get('port', '5432')}"
    )
    run(server_url, f"DROP ROLE {role}")


def name_of(url: str) -> str:
    return str(psycopg2.extensions.parse_dsn(url)["dbname"])


def objects_in(url: str) -> set[str]:
    """Return the tables, views and functions in the schema `public`."""
    found = run(
        url,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'v') UNION "
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    )
    return {name for (name,) in found}


def test_an_empty_database_is_reported_and_gets_the_tables(empty_url: str) -> None:
    with pytest.raises(
        MigrationError, match=r"the SYNC_TRACKING_URL database are missing, .* migrate$"
    ):
        check_version(empty_url, SETTING)
    assert migrate(empty_url, SETTING) == code_version() == check_version(empty_url, SETTING)
    assert objects_in(empty_url) == TABLES | VIEWS | FUNCTIONS


def test_migrating_again_changes_nothing(empty_url: str) -> None:
    migrate(empty_url, SETTING)
    batch = open_batch(empty_url, [START])
    assert migrate(empty_url, SETTING) == code_version()
    assert run(empty_url, "SELECT id FROM daily_sync_status") == [(batch.id,)]


def test_migrating_installs_the_functions_again_if_their_file_has_changed(empty_url: str) -> None:
    migrate(empty_url, SETTING)
    run(
        empty_url,
        f"COMMENT ON TABLE {VERSION_TABLE} IS 'another file'",
        "CREATE OR REPLACE FUNCTION sync_fail_run(p_run_id text, p_error text) RETURNS integer "
        "LANGUAGE sql AS 'SELECT 17'",
    )
    migrate(empty_url, SETTING)
    assert run(empty_url, "SELECT sync_fail_run('no run', 'x')") == [(0,)]


def test_a_missing_function_is_reported_and_installed_again(empty_url: str) -> None:
    migrate(empty_url, SETTING)
    run(empty_url, "DROP FUNCTION sync_fail_run")
    with pytest.raises(MigrationError, match=r"not the function sync_fail_run; run: sync-pipeline"):
        check_version(empty_url, SETTING)
    migrate(empty_url, SETTING)
    assert check_version(empty_url, SETTING) == code_version()


def test_no_function_has_two_signatures(empty_url: str) -> None:
    migrate(empty_url, SETTING)
    names = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    found = [name for (name,) in run(empty_url, names)]
    assert sorted(found) == sorted(FUNCTIONS)


def test_concurrent_threads_migrate_once(empty_url: str) -> None:
    done = at_once([partial(migrate, empty_url, SETTING) for _ in range(6)])
    assert set(done) == {code_version()}
    assert run(empty_url, f"SELECT count(*) FROM {VERSION_TABLE}") == [(1,)]


def test_concurrent_processes_migrate_once(empty_url: str) -> None:
    program = "import sys; from sync_pipeline.database.migrate import migrate; "
    program += f"print(migrate(sys.argv[1], '{SETTING}'))"
    command = [sys.executable, "-c", program, empty_url]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    output = [process.communicate(timeout=TIMEOUT_SECONDS * 2) for process in started]
    assert output == [(f"{code_version()}\n", "")] * 2
    assert objects_in(empty_url) >= TABLES | VIEWS


@pytest.mark.parametrize("work", [migrate, check_version])
def test_a_newer_version_is_rejected_and_nothing_is_changed(
    empty_url: str, work: Callable[[str, str], str]
) -> None:
    migrate(empty_url, SETTING)
    run(
        empty_url,
        f"UPDATE {VERSION_TABLE} SET version_num = '9999'",
        "DROP VIEW sync_slowest_day",
    )
    before = objects_in(empty_url)
    with pytest.raises(MigrationError) as rejected:
        work(empty_url, SETTING)
    assert str(rejected.value) == (
        f"the tracking tables in the {SETTING} database are at version 9999, newer than this "
        f"code's {code_version()}; upgrade sync-pipeline, or point {SETTING} at another database. "
        "Nothing was changed"
    )
    assert objects_in(empty_url) == before
    assert run(empty_url, f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]


def test_a_failed_migration_leaves_nothing(empty_url: str) -> None:
    run(empty_url, "CREATE VIEW sync_slowest_day AS SELECT 'a user' AS owner")
    with pytest.raises(MigrationError) as rejected:
        migrate(empty_url, SETTING)
    assert str(rejected.value) == (
        f'cannot migrate the database in {SETTING}: relation "sync_slowest_day" already exists; '
        "nothing was changed"
    )
    assert objects_in(empty_url) == {"sync_slowest_day"}

    run(empty_url, "DROP VIEW sync_slowest_day")
    assert migrate(empty_url, SETTING) == code_version()


def test_missing_privileges_to_create_tables_give_a_one_line_error(
    empty_url: str, unprivileged_url: str
) -> None:
    with pytest.raises(MigrationError) as rejected:
        migrate(unprivileged_url, SETTING)
    assert str(rejected.value).startswith(
        f"cannot migrate the database in {SETTING}: permission denied for schema public"
    )
    assert is_one_line_without_secrets(rejected.value)
    assert objects_in(empty_url) == set()


def test_missing_privileges_to_read_the_version_give_a_one_line_error(
    empty_url: str, unprivileged_url: str
) -> None:
    migrate(empty_url, SETTING)
    with pytest.raises(MigrationError) as rejected:
        check_version(unprivileged_url, SETTING)
    assert str(rejected.value) == (
        f"cannot read the version of the database in {SETTING}: permission denied for table "
        f"{VERSION_TABLE}; nothing was changed"
    )
    assert is_one_line_without_secrets(rejected.value)


@pytest.mark.parametrize("work", [migrate, check_version])
def test_the_error_for_a_missing_database_names_the_setting(
    server_url: str, work: Callable[[str, str], str]
) -> None:
    with pytest.raises(
        MigrationError, match=f"database in {SETTING}: .*does not exist"
    ) as rejected:
        work(with_database(server_url, "nowhere"), SETTING)
    assert is_one_line_without_secrets(rejected.value)


def is_one_line_without_secrets(error: Exception) -> bool:
    return "\n" not in str(error) and "hunter2" not in str(error)


def test_every_table_view_and_column_has_a_comment(database_url: str) -> None:
    without_comment = run(
        database_url,
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 "
        f"AND relname <> '{VERSION_TABLE}' AND col_description(attrelid, attnum) IS NULL "
        "UNION ALL SELECT relname, NULL FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') "
        f"AND relname <> '{VERSION_TABLE}' AND obj_description(oid, 'pg_class') IS NULL",
    )
    assert without_comment == []


def test_waiting_for_a_table_that_is_being_read_does_not_block_writers(
    empty_url: str,
) -> None:
    migrate(empty_url, SETTING, to="0002")
    run(empty_url, "INSERT INTO daily_sync_status (sync_date, status) VALUES (now(), 'success')")
    with closing(psycopg2.connect(empty_url)) as report, report.cursor() as cursor:
        cursor.execute("SELECT * FROM daily_sync_status")
        with in_thread(lambda: migrate(empty_url, SETTING)) as migrated:
            with closing(psycopg2.connect(empty_url)) as watcher:
                wait_until_blocked(watcher, report.info.backend_pid)
            # This update gets the lock between two attempts to migrate.
            run(empty_url, "UPDATE daily_sync_status SET remarks = 'changed'")
            assert not migrated.done()
            report.rollback()
            assert migrated.result(TIMEOUT_SECONDS) == code_version()
    assert run(empty_url, "SELECT remarks, retried_at FROM daily_sync_status") == [
        ("changed", None)
    ]


def test_old_records_are_kept_with_null_in_the_new_columns(empty_url: str) -> None:
    migrate(empty_url, SETTING, to="0001")
    run(
        empty_url,
        "INSERT INTO daily_sync_status (sync_date, status, dataset, kind, batch_key, start_date,"
        " end_date, total_days, failed_count, remarks) VALUES ('2025-10-05', 'failed', 'orders',"
        " 'batch', 'k', '2025-10-01', '2025-10-10', 10, 10, '批量同步失败: disk full')",
    )
    assert migrate(empty_url, SETTING) == code_version()
    found = run(empty_url, "SELECT status, already_synced, retried_at FROM sync_batch_progress")
    assert found == [("failed", None, None)]


# Day, attempt, state, rows and hour of each attempt, and the status of each day's record. The last
# day's rows were lost with their table.
_OLD = """
CREATE TEMP TABLE old (day, number, state, loaded, hour) AS VALUES
    (date '2025-10-01', 1, 'success', 10, 1), ('2025-10-02', 1, 'success', 20, 1),
    ('2025-10-02', 2, 'failed', 0, 2), ('2025-10-03', 1, 'failed', 0, 1),
    ('2025-10-04', 1, 'success', 40, 1);
INSERT INTO sync_attempt (dataset, sync_date, attempt, state, error_message, rows_read,
                          rows_loaded, started_at, ended_at)
SELECT 'orders', day, number, state, CASE WHEN state = 'failed' THEN 'disk full' END, loaded,
       loaded, at, at
FROM old, LATERAL (SELECT '2025-11-01 00:00Z'::timestamptz + hour * interval '1 h') AS t (at);
INSERT INTO daily_sync_status (sync_date, status, dataset, kind, attempt, start_time, end_time,
                               total_records, success_count, error_message)
SELECT sync_date, CASE WHEN sync_date = '2025-10-04' THEN 'failed' ELSE state END, 'orders', 'day',
       attempt, started_at, ended_at, CASE WHEN state = 'success' AND sync_date < '2025-10-04'
       THEN rows_loaded ELSE 0 END, CASE WHEN state = 'success' AND sync_date < '2025-10-04'
       THEN rows_loaded ELSE 0 END, CASE WHEN sync_date <> '2025-10-01' THEN 'disk full' END
FROM (SELECT DISTINCT ON (sync_date) * FROM sync_attempt ORDER BY sync_date, attempt DESC) AS latest
"""


def test_the_rows_of_each_day_are_taken_from_its_latest_success(empty_url: str) -> None:
    migrate(empty_url, SETTING, to="0008")
    run(empty_url, _OLD)
    unchanged = "SELECT id, change, updated_at FROM daily_sync_status ORDER BY id"
    before = run(empty_url, unchanged)
    assert migrate(empty_url, SETTING) == code_version()
    found = run(
        empty_url, "SELECT standing_rows, standing_since FROM daily_sync_status ORDER BY sync_date"
    )
    loaded = datetime(2025, 11, 1, 1, tzinfo=timezone.utc)
    assert found == [(10, loaded), (20, loaded), (None, None), (None, None)]
    assert run(empty_url, unchanged) == before


def test_all_tables_and_views_of_the_product_are_reserved_names() -> None:
    assert TABLES | VIEWS | {"sync_rejected_row", "sync_outbox"} == OWN_TABLES
