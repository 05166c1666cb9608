"""Definitions load; errors about a `defs.yaml` name the file, the key and the allowed values.

In Dagster 1.13, `dg check yaml` checks only one `defs.yaml` per component type, so each mistake
gets its own project.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from sync_pipeline.database.migrate import migrate
from sync_pipeline.settings import PROJECT_ROOT
from sync_pipeline_tests.command import (
    COMMAND,
    SCRIPTS,
    Ended,
    environment_of,
    run,
    run_forked,
    run_program,
)
from sync_pipeline_tests.stack_project import write_project

pytestmark = pytest.mark.integration

DG = str(SCRIPTS / "dg")
DAGSTER = str(SCRIPTS / "dagster")


@dataclass(frozen=True)
class Mistake:
    """A mistake in a `defs.yaml`: its line, and the errors that `dg check yaml` and `sync-pipeline`
    report."""

    old: str
    new: str
    line: int
    dg: str
    error: str
    dg_line: int | None = None  # if different, because dg does not resolve unions


LOADED_DEFINITIONS = """
import json, sys
from pathlib import Path
from sync_pipeline.orchestration import project
for of_run in (False, True):
    project.loads_for_a_run = lambda: of_run
    found = project.build_defs(Path(sys.argv[1])).get_repository_def()
    print(json.dumps({
        "assets": sorted(key.to_user_string() for key in found.assets_defs_by_key),
        "jobs": sorted(found.job_names),
        "sensors": sorted(sensor.name for sensor in found.sensor_defs),
        "schedules": sorted(schedule.name for schedule in found.schedule_defs),
        "metadata": sorted(found.metadata or {}),
    }))
"""

MISTAKES = {
    "key": Mistake(
        "day_column:",
        "day_colum:",
        6,
        "is not valid under any of the given schemas",
        "source: unknown key 'day_colum', did you mean 'day_column'? allowed keys: type, url_env, "
        "table, query, day_column, columns, ",
    ),
    "type": Mistake(
        "target: {table: orders}",
        "target: orders",
        7,
        "attributes.target 'orders' is not of type 'object'",
        "target: must be a mapping; its keys are table, write, key, ",
    ),
    "kind of source": Mistake(
        "source: {url_env: SYNC_SOURCE_URL, table: orders_source, day_column: day}",
        "source: {type: mysql, url_env: SYNC_SOURCE_URL}",
        6,
        "is not valid under any of the given schemas",
        "source: must be a mapping whose type is one of postgres, sql, files, rest, python",
    ),
    "no source": Mistake(
        "source: {url_env: SYNC_SOURCE_URL, table: orders_source, day_column: day}",
        "source: SHOP_URL",
        6,
        "attributes.source 'SHOP_URL' is not valid under any of the given schemas",
        "source: must be a mapping whose type is one of postgres, sql, files, rest, python",
    ),
    "value in the source": Mistake(
        "source: {url_env: SYNC_SOURCE_URL, table: orders_source, day_column: day}",
        "source:\n    type: files\n    path: '{day}.csv'\n    missing_columns: null\n"
        "    columns: {id: bigint}\n    csv:\n      header: maybe",
        12,
        "is not valid under any of the given schemas",
        "source.csv.header: must be a valid boolean",
        dg_line=6,
    ),
    "value": Mistake(
        "backfill: single_run",
        "backfill: 0",
        8,
        "attributes.backfill 0 is not valid under any of the given schemas",
        "backfill: must be 'single_run', or must be greater than or equal to 1",
    ),
    "missing": Mistake(
        "start_date: 2025-01-01",
        "description: Orders",
        3,
        "attributes 'start_date' is a required property",
        "start_date: required, but missing",
    ),
}


@pytest.fixture(scope="module")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Dagster home in which the definitions load without a database."""
    home = tmp_path_factory.mktemp("dagster_home")
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return home


@pytest.fixture(scope="module")
def dagster_only(dagster_home: Path) -> dict[str, str]:
    """Return an environment without SYNC_ settings."""
    environment = environment_of({"DAGSTER_HOME": str(dagster_home), "HOME": str(dagster_home)})
    return {name: value for name, value in environment.items() if not name.startswith("SYNC_")}


def in_checkout(environment: Mapping[str, str], *program: str) -> Ended:
    before = set(PROJECT_ROOT.glob(".tmp_dagster*"))
    ended = run_program(program, environment, folder=PROJECT_ROOT)
    assert set(PROJECT_ROOT.glob(".tmp_dagster*")) == before
    return ended


def test_the_yaml_of_the_checkout_is_valid(dagster_only: dict[str, str]) -> None:
    ended = in_checkout(dagster_only, DG, "check", "yaml")
    assert ended.code == 0, ended.out
    assert "All component YAML validated successfully." in ended.out


def test_the_checkout_lists_its_definitions(dagster_only: dict[str, str]) -> None:
    ended = in_checkout(dagster_only, DG, "list", "defs", "--json")
    assert ended.code == 0, ended.errors
    found = json.loads(ended.out)
    assert [asset["asset_key"] for asset in found["assets"]] == ["flights"]
    assert {job["name"] for job in found["jobs"]} == {"batch_backfill", "flights_daily_sync"}
    names = {sensor["name"] for sensor in found["sensors"]}
    assert {"record_backfills", "record_run_failure", "record_run_canceled"} <= names


def test_dagster_validates_the_workspace(dagster_only: dict[str, str]) -> None:
    ended = in_checkout(
        dagster_only, DAGSTER, "definitions", "validate", "--workspace", "workspace.yaml"
    )
    assert ended.code == 0, ended.errors
    output = ended.out + ended.errors
    assert "Validation successful for code location sync_pipeline." in output
    assert "All code locations passed validation." in output


@pytest.fixture(scope="module")
def target_url(make_database: Callable[[str | None], str]) -> str:
    url = make_database(None)
    migrate(url, "SYNC_DATABASE_URL")
    return url


@pytest.fixture(scope="module")
def results(
    target_url: str, tmp_path_factory: pytest.TempPathFactory, dagster_only: dict[str, str]
) -> dict[tuple[str, str], Ended]:
    """Run every program on every invalid project, all concurrently; return the results."""
    running = {}
    with ThreadPoolExecutor(4) as pool:
        for name, mistake in MISTAKES.items():
            folder = tmp_path_factory.mktemp(name)
            make_mistake(folder, mistake)
            environment = environment_of(
                {"SYNC_DATABASE_URL": target_url, "SYNC_PROJECT_DIR": str(folder)},
                SYNC_DATA_DIR=str(folder / "data"),
            )
            programs = {
                "dg": ([DG, "check", "yaml"], dagster_only),
                "backfill": (
                    [COMMAND, "backfill", "orders", "2025-01-01", "2025-01-02"],
                    environment,
                ),
            }
            if name == "key":  # once is enough: doctor loads definitions as backfill does
                programs["doctor"] = ([COMMAND, "doctor"], environment)
            for program, (command, variables) in programs.items():
                start = run_program if program == "dg" else run_forked
                running[name, program] = pool.submit(start, command, variables, folder=folder)
        return {key: ended.result() for key, ended in running.items()}


def make_mistake(folder: Path, mistake: Mistake) -> None:
    write_project(folder, {"orders": "single_run"})
    file = folder / "team" / "datasets" / "orders" / "defs.yaml"
    text = file.read_text()
    assert text.count(mistake.old) == 1
    file.write_text(text.replace(mistake.old, mistake.new))


@pytest.mark.parametrize("name", list(MISTAKES))
def test_dg_check_yaml_names_the_file_and_the_key(
    results: dict[tuple[str, str], Ended], name: str
) -> None:
    ended = results[name, "dg"]
    assert ended.code == 1
    line = MISTAKES[name].dg_line or MISTAKES[name].line
    assert f"orders/defs.yaml:{line} - sync_pipeline.DailySync " in ended.out
    assert MISTAKES[name].dg in ended.out


@pytest.mark.parametrize("name", list(MISTAKES))
def test_the_error_from_a_backfill_names_file_key_and_allowed_values_in_one_line(
    results: dict[tuple[str, str], Ended], name: str
) -> None:
    ended = results[name, "backfill"]
    assert (ended.code, ended.out) == (2, "")
    assert ended.errors.count("\n") == 1
    assert ended.errors.startswith("sync-pipeline: /")
    assert f"/orders/defs.yaml, line {MISTAKES[name].line}: {MISTAKES[name].error}" in ended.errors


def test_doctor_prints_the_same_error(results: dict[tuple[str, str], Ended]) -> None:
    ended, mistake = results["key", "doctor"], MISTAKES["key"]
    assert (ended.code, ended.errors) == (1, "")
    (found,) = (line for line in ended.out.splitlines() if line.startswith("FAIL definitions: "))
    assert f"/orders/defs.yaml, line {mistake.line}: {mistake.error}" in found


def test_doctor_continues_after_a_driver_rejects_the_url_of_a_dataset(
    target_url: str, tmp_path: Path
) -> None:
    write_project(tmp_path, {"events": "single_run", "orders": "single_run"})
    for name in ("events", "orders"):
        file = tmp_path / "team" / "datasets" / name / "defs.yaml"
        file.write_text(file.read_text().replace("source: {", "source: {type: sql, "))
    ended = run(
        {"SYNC_DATABASE_URL": target_url, "SYNC_PROJECT_DIR": str(tmp_path)},
        "doctor",
        SYNC_DATA_DIR=str(tmp_path),
        SYNC_SOURCE_URL="mysql+pymysql://u:s3cret@127.0.0.1:1/d?foo=1",
    )
    found = [line for line in ended.out.splitlines() if line.startswith("FAIL dataset")]
    error = "the URL in SYNC_SOURCE_URL cannot be used: TypeError: "
    assert [line.partition("Connection")[0] for line in found] == [
        f"FAIL dataset events: {error}",
        f"FAIL dataset orders: {error}",
    ]
    assert all("'foo'; correct its options: foo" in line for line in found)
    assert "s3cret" not in ended.out + ended.errors


def test_the_error_for_invalid_yaml_names_the_file_in_one_line(
    target_url: str, tmp_path: Path
) -> None:
    make_mistake(tmp_path, Mistake("source: {", "source: [", 6, "", ""))
    environment = {"SYNC_DATABASE_URL": target_url, "SYNC_PROJECT_DIR": str(tmp_path)}
    ended = run(
        environment, "backfill", "orders", "2025-01-01", "2025-01-02", SYNC_DATA_DIR=str(tmp_path)
    )
    assert (ended.code, ended.out, ended.errors.count("\n")) == (2, "", 1)
    assert f'{tmp_path}/team/datasets/orders/defs.yaml", line 6, column ' in ended.errors
    assert "run 'dg check yaml' and 'dg check defs' in that folder to find the file" in ended.errors


def test_an_invalid_yaml_file_leaves_no_record(
    results: dict[tuple[str, str], Ended], target_url: str
) -> None:
    with closing(psycopg2.connect(target_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM daily_sync_status")
        assert cursor.fetchone() == (0,)


def test_two_datasets_with_the_same_name_or_table_are_rejected(
    target_url: str, tmp_path: Path
) -> None:
    write_project(tmp_path, {"orders": "single_run", "events": "2"})
    environment = {"SYNC_DATABASE_URL": target_url, "SYNC_PROJECT_DIR": str(tmp_path)}
    arguments = ("backfill", "orders", "2025-01-01", "2025-01-02")
    datasets = tmp_path / "team" / "datasets"
    events, orders = (datasets / name / "defs.yaml" for name in ("events", "orders"))
    events.write_text(events.read_text().replace("{table: events}", "{table: public.orders}"))
    one_table = run(environment, *arguments, SYNC_DATA_DIR=str(tmp_path / "data"))
    (datasets / "old").mkdir()
    events.parent.rename(datasets / "old" / "orders")
    one_name = run(environment, *arguments, SYNC_DATA_DIR=str(tmp_path / "data"))
    assert [(ended.code, ended.errors.count("\n")) for ended in (one_table, one_name)] == [
        (2, 1),
        (2, 1),
    ]
    assert "both write to the table" in one_table.errors
    assert f"{events}" in one_table.errors
    assert f"{orders}" in one_table.errors
    assert "two datasets are named orders: " in one_name.errors
    assert f"{orders}" in one_name.errors
    assert f"{datasets / 'old' / 'orders' / 'defs.yaml'}" in one_name.errors


def test_a_run_loads_the_same_definitions_as_the_code_server(tmp_path: Path) -> None:
    write_project(tmp_path, {"orders": "single_run", "events": "2"})
    # In a separate process, because the projects of other tests have packages of the same name.
    ended = subprocess.run(
        [sys.executable, "-c", LOADED_DEFINITIONS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    of_server, of_run = (json.loads(line) for line in ended.stdout.splitlines())
    assert of_run["assets"] == ["events", "orders"]
    assert of_server.pop("metadata") == ["plugin_component_types_json"]
    assert of_run.pop("metadata") == []
    assert of_run == of_server
