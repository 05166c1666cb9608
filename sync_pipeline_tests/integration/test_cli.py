"""The command line: output and exit codes. For interrupted commands, see test_cli_interrupts."""

import json
import re
import resource
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline_tests.command import (
    COMMAND,
    Ended,
    end_of,
    environment_of,
    folder_for_postgres,
    run,
    run_all,
    run_forked,
    run_program,
    run_script,
)
from sync_pipeline_tests.integration.commands import UUID, backfill, done, run_of, running
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Databases, days

pytestmark = pytest.mark.integration

COMMANDS = ["dev", "demo", "migrate", "backfill", "retry", "status", "doctor"]
# Scripts rely on these names, so names may be added but not removed.
BATCH_FIELDS = {
    *("id", "dataset", "batch_key", "sync_date", "status", "start_date", "end_date"),
    *("total_days", "done_days", "success_count", "failed_count", "skipped_count"),
    *("total_records", "percent", "duration_seconds", "elapsed_seconds", "rows_per_second"),
    *("eta_seconds", "remarks", "error_message", "start_time", "end_time", "run_id"),
    *("triggered_by", "already_synced", "retried_at"),
}
DAY_FIELDS = {
    *("sync_date", "state", "attempt", "rows_read", "rows_loaded", "rows_rejected", "bytes"),
    *("duration_seconds", "error_message", "run_id"),
}


def materialized(project: Databases, run_id: str) -> list[str]:
    found = project.target(
        "SELECT partition FROM dagster.event_logs WHERE run_id = %s"
        " AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY partition",
        [run_id],
    )
    return [event["partition"] for event in found]


FOUR = days(date(2025, 1, 1), 4)


@pytest.fixture(scope="module")
def backfilled(project: Databases) -> list[Ended]:
    """Sync two days with the installed script, then those and two more; then resync all four."""
    return [
        run_script(project.settings.environment, "backfill", "orders", FOUR[0], FOUR[1]),
        backfill(project, FOUR, "--json"),
        backfill(project, FOUR, "--resync", "--json"),
    ]


def test_a_backfill_prints_its_result_and_leaves_a_correct_record(
    project: Databases, backfilled: list[Ended]
) -> None:
    ended = backfilled[0]
    assert (ended.code, ended.errors) == (0, "")
    first = ended.out.splitlines()[0]
    found = re.fullmatch(rf"batch (cli-{UUID}), Dagster run ({UUID})", first)
    assert found
    record = project.batch(found[1])
    assert (record["status"], record["run_id"]) == ("success", found[2])
    counts = (record["success_count"], record["failed_count"], record["skipped_count"])
    assert (record["total_days"], *counts) == (2, 2, 0, 0)
    assert record["total_records"] == 2 * ROWS_PER_DAY
    assert record["remarks"].startswith("批量同步完成: 2025-01-01至2025-01-02, 共2天, 成功2, ")
    assert record["remarks"] in ended.out
    assert "2/2 days" in ended.out
    assert record["triggered_by"].endswith(", command line")


def test_a_backfill_lists_days_with_unusually_few_rows(project: Databases) -> None:
    of = days(date(2025, 9, 1), 8)
    project.source("DELETE FROM orders_rows WHERE day = %s AND id > 2", [of[-1]])
    ended = backfill(project, of)
    assert ended.code == 0
    assert "warnings: 2025-09-08 (2 rows, typically 20)\n" in ended.out


def test_dagster_shows_the_run_of_a_backfill_like_any_other(
    project: Databases, backfilled: list[Ended]
) -> None:
    batch = json.loads(backfilled[1].out)
    found = run_of(project, batch["run_id"])
    assert (found["status"], found["pipeline_name"]) == ("SUCCESS", "batch_backfill")
    assert found["tags"]["sync_pipeline/batch_key"] == batch["batch_key"]
    assert found["tags"]["sync_pipeline/triggered_by"] == batch["triggered_by"]
    assert found["tags"][".dagster/repository"] == "__repository__@sync_pipeline"
    assert materialized(project, batch["run_id"]) == [str(day) for day in FOUR]


def test_synced_days_are_skipped_unless_resync_is_requested(
    project: Databases, backfilled: list[Ended]
) -> None:
    skipping, again = (json.loads(ended.out) for ended in backfilled[1:])
    assert (skipping["success_count"], skipping["skipped_count"]) == (2, 2)
    assert [day["state"] for day in skipping["days"]] == ["skipped"] * 2 + ["success"] * 2
    assert (again["success_count"], again["skipped_count"]) == (4, 0)
    assert [day["attempt"] for day in again["days"]] == [2, 2, 2, 2]
    assert project.differing_days("orders", FOUR) == []


def test_json_is_the_only_output_and_has_all_documented_fields(
    project: Databases, backfilled: list[Ended]
) -> None:
    ended = backfilled[1]
    assert ended.code == 0
    assert ended.out.count("\n") == 1
    batch = json.loads(ended.out)
    assert set(batch) >= {*BATCH_FIELDS, "days"}
    assert all(set(day) >= DAY_FIELDS for day in batch["days"])
    assert (batch["sync_date"], batch["percent"], batch["status"]) == ("2025-01-02", 100, "success")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", batch["end_time"])
    assert f"batch {batch['batch_key']}, Dagster run {batch['run_id']}" in ended.errors
    assert "4/4 days" in ended.errors


REJECT_IN_BRACKETS = """
CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''[/] is [red]''; END';
CREATE TRIGGER reject BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.amount < 0)
    EXECUTE FUNCTION reject();
"""


def test_a_failed_day_is_printed_with_its_reason_and_the_others_are_kept(
    project: Databases,
) -> None:
    of = days(date(2025, 2, 1), 4)
    # A server's message may look like markup to the terminal library.
    project.target(REJECT_IN_BRACKETS)
    project.spoil("orders", of[1])
    ended = backfill(project, of)
    assert ended.code == 1
    assert re.search(rf"│ {of[1]} │ 1 +│ dataset orders: cannot load .*\[/\] is \[red\]", ended.out)
    assert ended.out.count("cannot load") == 2  # in the record and in the table of failed days
    batch = project.batches()[-1]
    assert (batch["status"], batch["success_count"], batch["failed_count"]) == ("failed", 3, 1)
    assert "target table orders: [/] is [red]" in batch["error_message"]
    assert batch["error_message"] in ended.out
    expected = (
        f"sync-pipeline: dataset orders: batch {batch['id']} failed: 1 of 4 days failed: {of[1]}. "
    )
    assert ended.errors.startswith(expected)
    assert ended.errors.count("\n") == 1
    assert project.differing_days("orders", of) == [of[1]]
    project.repair("orders", of[1])
    assert json.loads(backfill(project, of, "--json").out)["skipped_count"] == 3
    assert project.differing_days("orders", of) == []


def test_status_lists_batches_and_shows_one_by_id_or_key(
    project: Databases, backfilled: list[Ended]
) -> None:
    batch = json.loads(backfilled[1].out)
    commands = {
        "table": ("status",),
        "json": ("status", "--json", "--limit", 2),
        "id": ("status", batch["id"], "--json"),
        "key": ("status", batch["batch_key"], "--json"),
        "one": ("status", batch["batch_key"]),
        "unknown": ("status", "nothing-like-it"),
        "unknown, followed": ("status", "987654321", "--follow"),
    }
    answers = run_all(project.settings.environment, commands)
    assert re.search(
        rf"│ {batch['id']} +│ orders +│ 2025-01-01 … 2025-01-04 ", answers["table"].out
    )
    listed = json.loads(answers["json"].out)
    assert [one["id"] for one in listed] == [b["id"] for b in reversed(project.batches()[-2:])]
    assert set(listed[0]) >= BATCH_FIELDS
    assert json.loads(answers["id"].out) == json.loads(answers["key"].out) == batch
    assert batch["remarks"] in answers["one"].out
    for name in ("unknown", "unknown, followed"):
        assert answers[name].code == 2
        (key,) = (word for word in commands[name] if word not in ("status", "--follow"))
        said = f"sync-pipeline: batch {key} not found; see: sync-pipeline status"
        assert answers[name].complaint == said
        assert "Traceback" not in answers[name].errors


def test_status_without_batches_prints_what_to_do(database_url: str) -> None:
    given = {"SYNC_DATABASE_URL": database_url}
    shown = run(given, "status").out
    assert shown.startswith("no batches yet; launch one with: sync-pipeline backfill")
    assert json.loads(run(given, "status", "--json").out) == []
    followed = run(given, "status", "--follow")
    assert (followed.code, followed.complaint) == (
        2,
        "sync-pipeline: there is no batch to follow yet; launch one with: sync-pipeline backfill "
        "DATASET START END",
    )


def test_another_process_can_follow_a_batch_to_its_end(project: Databases) -> None:
    with running(project, date(2025, 8, 1), finished=1, of=8) as (process, key, _):
        followed = run(project.settings.environment, "status", "--follow", "--json")
        assert done(project, key) == 8
        assert end_of(process).code == 0
    assert followed.code == 0
    batch = json.loads(followed.out)
    assert (batch["batch_key"], batch["status"], batch["done_days"]) == (key, "success", 8)
    assert "8/8 days" in followed.errors


def test_migrate_can_be_repeated_and_run_concurrently(
    make_database: Callable[[str | None], str],
) -> None:
    given = {"SYNC_DATABASE_URL": make_database(None)}
    answers = run_all(given, {"one": ["migrate"], "other": ["migrate"], "third": ["migrate"]})
    said = {(ended.code, ended.out, ended.errors) for ended in answers.values()}
    again = run_script(given, "migrate")
    assert said == {(again.code, again.out, again.errors)}
    assert (again.code, again.errors) == (0, "")
    assert re.fullmatch(r"the tracking tables are at version \d{4}\n", again.out)


@pytest.mark.parametrize(
    "words", [["migrate"], ["status"], ["backfill", "orders", "2025-01-01", "2025-01-02"]]
)
def test_a_database_newer_than_the_code_is_rejected_and_not_changed(
    database_url: str, connection: Any, words: list[str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sync_pipeline_version SET version_num = '9999'")
    ended = run({"SYNC_DATABASE_URL": database_url}, *words)
    assert (ended.code, ended.out) == (3, "")
    assert "are at version 9999, newer than this code's" in ended.errors
    assert "upgrade sync-pipeline, or point SYNC_DATABASE_URL at another" in ended.errors
    assert ended.errors.count("\n") == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT version_num FROM sync_pipeline_version")
        assert cursor.fetchall() == [("9999",)]


def test_doctor_prints_what_is_ok_and_how_to_fix_the_rest(
    project: Databases, backfilled: list[Ended]
) -> None:
    environment = project.settings.environment
    nowhere = "postgresql://me:hush@127.0.0.1:1/nothing"
    healthy = run_script(environment, "doctor")
    assert healthy.code == 1  # no daemon is running
    *well, daemon = healthy.out.splitlines()
    assert [line[:4] for line in well] == ["ok  "] * 5
    assert well[2] == "ok   definitions: events, orders"
    assert well[4] == "ok   dataset orders: 4 columns, day column day (date)"
    assert daemon.startswith("FAIL Dagster's daemon: is not running, so schedules, ")
    assert "start it: sync-pipeline dev" in daemon
    wrong_source = run(environment, "doctor", SYNC_SOURCE_URL=nowhere)
    assert wrong_source.code == 1
    said = "FAIL dataset orders: cannot connect to the database in SYNC_SOURCE_URL: "
    assert said in wrong_source.out
    unreachable = run(environment, "doctor", SYNC_DATABASE_URL=nowhere)
    assert unreachable.code == 1
    assert "FAIL tracking tables: cannot connect to the database in SYNC_DATABASE_URL: " in (
        unreachable.out
    )
    for ended in (healthy, wrong_source, unreachable):
        assert ended.errors == ""
        assert "hush" not in ended.out


def imported(errors: str) -> set[str]:
    """Return the top-level packages in the output of `-X importtime`."""
    lines = [line for line in errors.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().partition(".")[0] for line in lines[1:]}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_takes_less_than_a_second_and_does_not_import_dagster(command: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = [sys.executable, "-X", "importtime", COMMAND, command, "--help"]
    ended = run_program(program, environment_of({}))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.code == 0
    assert f"Usage: sync-pipeline {command}" in ended.out
    assert "typer" in imported(ended.errors)
    assert not {name for name in imported(ended.errors) if name.startswith("dagster")}
    # CPU time is measured, so that the load on the machine does not matter.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1


def test_status_does_not_import_dagster(project: Databases) -> None:
    program = [sys.executable, "-X", "importtime", COMMAND, "status", "--json"]
    ended = run_program(program, environment_of(project.settings.environment))
    assert ended.code == 0
    assert "psycopg2" in imported(ended.errors)
    assert not {name for name in imported(ended.errors) if name.startswith("dagster")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["statu"], "No such command 'statu'. Did you mean 'status'?"),
        (["backfill", "orders"], "Missing argument 'start'"),
        (["status", "--limit", "0"], "Invalid value for '--limit': Input should be gr"),
    ],
)
def test_a_mistyped_command_prints_what_is_wrong(words: list[str], says: str) -> None:
    ended = run_script({}, *words)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.errors
    assert "Traceback" not in ended.errors


@pytest.fixture
def demo_folder() -> Iterator[Path]:
    with folder_for_postgres() as folder:
        yield folder


@pytest.mark.timeout(600)
def test_the_demo_syncs_its_days_and_can_be_repeated(demo_folder: Path) -> None:
    environment = environment_of({"SYNC_DATA_DIR": str(demo_folder), "HOME": str(demo_folder)})
    for source in ("source: 336,776 flights loaded", "source: flights already loaded"):
        ended = run_forked([COMMAND, "demo"], environment, seconds=140)
        assert ended.code == 0, ended.errors
        assert ended.errors == ""
        assert source in ended.out
        assert re.search(r"批量同步完成: .*, 共10天, 成功8, 失败0, 跳过2, ", ended.out)
        assert "target equals source: 10 days, " in ended.out
        assert not (demo_folder / "postgres" / "postmaster.pid").exists()
