"""Invalid command-line input causes a one-line error without secrets and leaves no open record."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from sync_pipeline.local import embedded_postgres
from sync_pipeline_tests import stack_project
from sync_pipeline_tests.command import Ended, folder_for_postgres, run, run_all
from sync_pipeline_tests.stack_project import Databases
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

PASSWORD = "Tr0ub4dor-is-not-it"  # noqa: S105
READER = "locked_out"
FIRST, LAST = date(2025, 3, 1), date(2025, 3, 3)
TOMORROW = datetime.now(timezone.utc).date() + timedelta(days=1)
DATASETS = (
    *("orders", "endless", "no_table", "no_column", "no_permission", "other_columns"),
    *("wrong_password", "no_setting"),
)


@dataclass(frozen=True)
class Bad:
    """A project in which all but two of the datasets are broken."""

    databases: Databases
    environment: Mapping[str, str]

    def backfill(self, dataset: str, start: object, end: object, **others: str) -> Ended:
        return run(self.environment, "backfill", dataset, start, end, **others)


@pytest.fixture(scope="module")
def locked_url() -> Iterator[str]:
    """Yield a URL with the wrong password for a server that requires a password."""
    off = {"fsync": "off"}
    with (
        folder_for_postgres() as folder,
        embedded_postgres.run_server(folder / "pg", settings=off) as url,
    ):
        rules = folder / "pg" / "pg_hba.conf"
        rules.write_text(f"local all {READER} scram-sha-256\n" + rules.read_text())
        execute(
            url,
            "SET password_encryption = 'scram-sha-256'",
            f"CREATE ROLE {READER} LOGIN PASSWORD 'the right one'",
            "SELECT pg_reload_conf()",
        )
        wrong = url.replace("postgres@", f"{READER}:{PASSWORD}@", 1)
        wait_until(lambda: is_denied(wrong))
        yield wrong


@pytest.fixture(scope="module")
def stranger_url(bad_databases: Databases) -> Iterator[str]:
    """Yield a URL of the source for a user without permissions."""
    url = bad_databases.settings.postgres_url("SYNC_SOURCE_URL")
    name = f"stranger_{os.getpid()}"
    execute(url, f"CREATE ROLE {name} LOGIN PASSWORD 'open sesame'")
    dsn = parse_dsn(url)
    server = {"host": dsn["host"], "dbname": dsn["dbname"], "port": dsn.get("port", "5432")}
    yield (
        f"postgresql://{name}:open%20sesame@/{server['dbname']}"
        f"?host={server['host']}&port={server['port']}"
    )
    execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.fixture(scope="module")
def bad_databases(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    folder = tmp_path_factory.mktemp("bad_input")
    datasets = dict.fromkeys(DATASETS, "single_run")
    with stack_project.project(make_database, folder, datasets) as made:
        rewrite(folder, "endless", f"end_date: {stack_project.LAST}", "description: no last day")
        rewrite(folder, "no_permission", "SYNC_SOURCE_URL", "SYNC_STRANGER_URL")
        rewrite(folder, "wrong_password", "SYNC_SOURCE_URL", "SYNC_LOCKED_URL")
        rewrite(folder, "no_setting", "SYNC_SOURCE_URL", "SYNC_FORGOTTEN_URL")
        made.source("DROP VIEW no_table_source")
        made.source("ALTER VIEW no_column_source RENAME COLUMN day TO tag")
        made.target("ALTER TABLE other_columns DROP COLUMN paused")
        made.target("ALTER TABLE other_columns ALTER COLUMN id TYPE smallint")
        yield made


@pytest.fixture(scope="module")
def bad(bad_databases: Databases, locked_url: str, stranger_url: str) -> Bad:
    urls = {"SYNC_LOCKED_URL": locked_url, "SYNC_STRANGER_URL": stranger_url}
    return Bad(bad_databases, {**bad_databases.settings.environment, **urls})


def rewrite(folder: Path, dataset: str, old: str, new: str) -> None:
    file = folder / "team" / "datasets" / dataset / "defs.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)


def is_denied(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError as error:
        return "password authentication failed" in str(error)
    return False


REJECTED = {
    "reversed": (
        ("orders", "2025-03-03", "2025-03-01"),
        "dataset orders: the range 2025-03-03 to 2025-03-01 is reversed; "
        "put the earlier date first: 2025-03-01 2025-03-03",
    ),
    "start not a date": (
        ("orders", "yesterday", "2025-03-01"),
        "START: 'yesterday' is not a date; use YYYY-MM-DD, for example 2025-10-01",
    ),
    "end not a date": (
        ("orders", "2025-02-01", "2025-02-30"),
        "END: '2025-02-30' is not a date; use YYYY-MM-DD, for example 2025-10-01",
    ),
    "in the future": (
        ("endless", TOMORROW - timedelta(days=9), TOMORROW),
        f"dataset endless: {TOMORROW} cannot be synced: the last finished day in UTC is ",
    ),
    "after the last day": (
        ("orders", "2025-12-30", "2026-01-02"),
        "dataset orders: 2026-01-02 cannot be synced: the dataset's end_date is 2025-12-31; "
        "end at 2025-12-31 or earlier",
    ),
    "before the first day": (
        ("orders", "2024-12-31", "2025-01-02"),
        "dataset orders: 2024-12-31 is before its first day 2025-01-01; start at 2025-01-01, "
        "or set an earlier start_date in its defs.yaml",
    ),
    "unknown dataset": (
        ("order", "2025-03-01", "2025-03-03"),
        f"dataset 'order' not found; known datasets: {', '.join(sorted(DATASETS))}",
    ),
}


@pytest.fixture(scope="module")
def rejected(bad: Bad) -> dict[str, Ended]:
    """Run all invalid requests concurrently, and return the results keyed by name."""
    before = row_counts(bad.databases)
    commands = {name: ("backfill", *request) for name, (request, _) in REJECTED.items()}
    ended = run_all(bad.environment, commands)
    assert row_counts(bad.databases) == before
    return ended


@pytest.mark.parametrize("name", list(REJECTED))
def test_an_invalid_request_is_rejected_in_one_line_and_leaves_no_record(
    rejected: dict[str, Ended], name: str
) -> None:
    ended = rejected[name]
    assert (ended.code, ended.out) == (2, "")
    assert ended.errors.startswith(f"sync-pipeline: {REJECTED[name][1]}")
    assert ended.errors.count("\n") == 1


FAILS = {
    "no_table": ("table no_table_source not found in the source; check 'table' in its defs.yaml"),
    "no_column": (
        "table no_column_source has no column 'day'; correct 'day_column' in "
        "its defs.yaml; the columns are tag, id, amount, paused"
    ),
    "no_permission": (
        "cannot read table no_permission_source: permission denied for "
        "view no_permission_source (check it in the dataset's defs.yaml, and that the user in "
        "SYNC_STRANGER_URL has SELECT permission)"
    ),
    "other_columns": (
        "the target table other_columns does not match the source: "
        "column 'id' is smallint, but must be integer; column 'paused' (text) is missing. "
        "Alter the table, or drop it so that it is created again"
    ),
    "wrong_password": "cannot connect to the database in SYNC_LOCKED_URL: ",
    "no_setting": "SYNC_FORGOTTEN_URL is not set. Set it to postgresql://",
}


@pytest.fixture(scope="module")
def failed(bad: Bad, rejected: dict[str, Ended]) -> dict[str, Ended]:
    """Run a batch for every broken dataset concurrently; return the results keyed by dataset."""
    return run_all(bad.environment, {name: ("backfill", name, FIRST, LAST) for name in FAILS})


@pytest.mark.parametrize("dataset", list(FAILS))
def test_a_broken_dataset_fails_its_batch_with_the_reason(
    bad: Bad, failed: dict[str, Ended], dataset: str
) -> None:
    ended = failed[dataset]
    assert ended.code == 1
    (record,) = batches_of(bad.databases, dataset)
    counts = (record["total_days"], record["success_count"], record["failed_count"])
    assert (record["status"], counts) == ("failed", (3, 0, 3))
    assert record["remarks"].startswith(f"批量同步失败: {FAILS[dataset]}")
    reason = record["remarks"].removeprefix("批量同步失败: ")
    error = f"3 of 3 days failed: {FIRST}..{LAST}. First: {FIRST}: {reason.removesuffix('.')}"
    error += f". Not run: {FIRST + timedelta(days=1)}..{LAST}"
    assert record["error_message"] == error
    # The user sees the record, and then the reason again as the only line on standard error.
    assert (
        ended.errors == f"sync-pipeline: dataset {dataset}: batch {record['id']} failed: {error}\n"
    )
    assert record["remarks"] in ended.out
    assert "Traceback" not in ended.out + ended.errors
    assert nothing_is_syncing(bad.databases)
    status = "SELECT status FROM dagster.runs WHERE run_id = %s"
    assert bad.databases.target(status, [record["run_id"]]) == [{"status": "FAILURE"}]


def test_a_source_that_rejects_the_password_is_named_and_the_password_is_not_stored(
    bad: Bad, failed: dict[str, Ended]
) -> None:
    ended = failed["wrong_password"]
    assert f'password authentication failed for user "{READER}"' in ended.complaint
    assert "check SYNC_LOCKED_URL" in ended.complaint
    assert PASSWORD not in ended.out + ended.errors
    # The search works: it does find the user name, in the record and in Dagster's events.
    url = bad.databases.settings.database_url
    tables = tables_with(url, READER)
    assert {"public.daily_sync_status", "public.sync_attempt", "dagster.event_logs"} <= tables
    assert tables_with(url, PASSWORD) == set()
    files = [path for path in bad.databases.settings.data_dir.rglob("*") if path.is_file()]
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "setting", ["SYNC_DATABASE_URL", "SYNC_TRACKING_URL", "SYNC_DAGSTER_STORAGE_URL"]
)
def test_the_command_does_not_start_if_a_database_rejects_the_password(
    bad: Bad, locked_url: str, setting: str
) -> None:
    before = row_counts(bad.databases)
    ended = bad.backfill("orders", FIRST, LAST, **{setting: locked_url})
    assert (ended.code, ended.out) == (3, "")
    assert f"cannot connect to the database in {setting}: " in ended.errors
    assert f"(check {setting}, and that the server is running)" in ended.errors
    assert ended.errors.count("\n") == 1
    assert PASSWORD not in ended.errors
    assert row_counts(bad.databases) == before


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("mysql://me:hush@db/x", 2, "SYNC_DATABASE_URL must begin with postgresql://"),
        ("postgresql://me:hu@sh@db/x", 2, "must be percent-encoded"),
        ("postgresql://me:hush@127.0.0.1:1/x", 3, "(check SYNC_DATABASE_URL, and that the server"),
    ],
    ids=["another database", "not encoded", "unreachable"],
)
def test_an_invalid_target_url_is_rejected_without_showing_its_password(
    bad: Bad, url: str, code: int, message: str
) -> None:
    ended = bad.backfill("orders", FIRST, LAST, SYNC_DATABASE_URL=url, SYNC_DAGSTER_STORAGE_URL="")
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.errors
    assert ended.errors.count("\n") == 1
    assert "hush" not in ended.errors
    assert "hu@" not in ended.errors


def row_counts(databases: Databases) -> dict[str, int]:
    """Return the number of rows in each table that a batch writes to."""
    tables = ["daily_sync_status", "sync_attempt", "dagster.runs"]
    exists = "SELECT to_regclass(%s) IS NOT NULL AS found"
    return {
        table: databases.target(f"SELECT count(*) AS rows FROM {table}")[0]["rows"]
        for table in tables
        if databases.target(exists, [table])[0]["found"]
    }


def batches_of(databases: Databases, dataset: str) -> list[dict[str, Any]]:
    return databases.target(
        "SELECT * FROM daily_sync_status WHERE kind = 'batch' AND dataset = %s", [dataset]
    )


def nothing_is_syncing(databases: Databases) -> bool:
    return (
        databases.target(
            "SELECT id FROM daily_sync_status WHERE status = 'syncing'"
            " UNION ALL SELECT id FROM sync_attempt WHERE state IN ('pending', 'syncing')"
        )
        == []
    )


def tables_with(url: str, text: str) -> set[str]:
    """Return the tables, in any schema, in which at least one row contains `text`."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE'"
            " AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        found = set()
        for schema, table in cursor.fetchall():
            cursor.execute(
                sql.SQL("SELECT FROM {} AS t WHERE strpos(t::text, %s) > 0 LIMIT 1").format(
                    sql.Identifier(schema, table)
                ),
                [text],
            )
            if cursor.rowcount:
                found.add(f"{schema}.{table}")
        return found
