"""The definitions load, and a `defs.yaml` that is wrong is told by file, key and what is allowed.

`dg check yaml` of Dagster 1.13 looks at one `defs.yaml` of each component type only, so the wrong
ones stand in a project of their own each.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from sync_pipeline.database.migrate import migrate
from sync_pipeline.settings import PROJECT_ROOT
from sync_pipeline_tests.command import COMMAND, SCRIPTS, Ended, environment_of, run, run_program
from sync_pipeline_tests.stack_project import write_project

pytestmark = pytest.mark.integration

DG = str(SCRIPTS / "dg")
DAGSTER = str(SCRIPTS / "dagster")


@dataclass(frozen=True)
class Wrong:
    """A mistake in a `defs.yaml`: where, and what Dagster's check and our command say of it."""

    old: str
    new: str
    line: int
    dg: str
    told: str
    dg_line: int | None = None  # if it is another: its check does not look into a union


WRONG = {
    "key": Wrong(
        "day_column:",
        "day_colum:",
        6,
        "is not valid under any of the given schemas",
        "source: unknown key 'day_colum', did you mean 'day_column'? allowed keys: type, url_env, "
        "table, query, day_column, columns, ",
    ),
    "type": Wrong(
        "target: {table: orders}",
        "target: orders",
        7,
        "attributes.target 'orders' is not of type 'object'",
        "target: must be a mapping; its keys are table, write, key, ",
    ),
    "kind of source": Wrong(
        "source: {url_env: SYNC_SOURCE_URL, table: orders_source, day_column: day}",
        "source: {type: mysql, url_env: SYNC_SOURCE_URL}",
        6,
        "is not valid under any of the given schemas",
        "source: must be a mapping whose type is one of postgres, sql, files, rest, python",
    ),
    "no source": Wrong(
        "source: {url_env: SYNC_SOURCE_URL, table: orders_source, day_column: day}",
        "source: SHOP_URL",
        6,
        "attributes.source 'SHOP_URL' is not valid under any of the given schemas",
        "source: must be a mapping whose type is one of postgres, sql, files, rest, python",
    ),
    "value in the source": Wrong(
        "source: {url_env: SYNC_SOURCE_URL, table: orders_source, day_column: day}",
        "source:\n    type: files\n    path: '{day}.csv'\n    missing_columns: null\n"
        "    columns: {id: bigint}\n    csv:\n      header: maybe",
        12,
        "is not valid under any of the given schemas",
        "source.csv.header: must be a valid boolean",
        dg_line=6,
    ),
    "value": Wrong(
        "backfill: single_run",
        "backfill: 0",
        8,
        "attributes.backfill 0 is not valid under any of the given schemas",
        "backfill: must be 'single_run', or must be greater than or equal to 1",
    ),
    "missing": Wrong(
        "start_date: 2025-01-01",
        "description: Orders",
        3,
        "attributes 'start_date' is a required property",
        "start_date: required, but missing",
    ),
}


@pytest.fixture(scope="module")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dagster home of its own, so that loading the definitions needs no database."""
    home = tmp_path_factory.mktemp("dagster_home")
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return home


@pytest.fixture(scope="module")
def dagster_only(dagster_home: Path) -> dict[str, str]:
    """An environment without any setting of ours."""
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
    said = ended.out + ended.errors
    assert "Validation successful for code location sync_pipeline." in said
    assert "All code locations passed validation." in said


@pytest.fixture(scope="module")
def target_url(make_database: Callable[[str | None], str]) -> str:
    url = make_database(None)
    migrate(url, "SYNC_DATABASE_URL")
    return url


@pytest.fixture(scope="module")
def told(
    target_url: str, tmp_path_factory: pytest.TempPathFactory, dagster_only: dict[str, str]
) -> dict[tuple[str, str], Ended]:
    """What each program says of each wrong project, all asked at once."""
    running = {}
    with ThreadPoolExecutor(4) as pool:
        for what, wrong in WRONG.items():
            folder = tmp_path_factory.mktemp(what)
            misspell(folder, wrong)
            ours = environment_of(
                {"SYNC_DATABASE_URL": target_url, "SYNC_PROJECT_DIR": str(folder)},
                SYNC_DATA_DIR=str(folder / "data"),
            )
            asked = {
                "dg": ([DG, "check", "yaml"], dagster_only),
                "backfill": ([COMMAND, "backfill", "orders", "2025-01-01", "2025-01-02"], ours),
            }
            if what == "key":  # it takes the way of a backfill: once is enough
                asked["doctor"] = ([COMMAND, "doctor"], ours)
            for name, (program, environment) in asked.items():
                running[what, name] = pool.submit(run_program, program, environment, folder=folder)
        return {key: ended.result() for key, ended in running.items()}


def misspell(folder: Path, wrong: Wrong) -> None:
    write_project(folder, {"orders": "single_run"})
    file = folder / "team" / "datasets" / "orders" / "defs.yaml"
    text = file.read_text()
    assert text.count(wrong.old) == 1
    file.write_text(text.replace(wrong.old, wrong.new))


@pytest.mark.parametrize("what", list(WRONG))
def test_dg_check_yaml_names_the_file_and_the_key(
    told: dict[tuple[str, str], Ended], what: str
) -> None:
    ended = told[what, "dg"]
    assert ended.code == 1
    line = WRONG[what].dg_line or WRONG[what].line
    assert f"orders/defs.yaml:{line} - sync_pipeline.DailySync " in ended.out
    assert WRONG[what].dg in ended.out


@pytest.mark.parametrize("what", list(WRONG))
def test_a_backfill_is_refused_in_one_line_with_file_key_and_what_is_allowed(
    told: dict[tuple[str, str], Ended], what: str
) -> None:
    ended = told[what, "backfill"]
    assert (ended.code, ended.out) == (2, "")
    assert ended.errors.count("\n") == 1
    assert ended.errors.startswith("sync-pipeline: /")
    assert f"/orders/defs.yaml, line {WRONG[what].line}: {WRONG[what].told}" in ended.errors


def test_doctor_says_the_same(told: dict[tuple[str, str], Ended]) -> None:
    ended, wrong = told["key", "doctor"], WRONG["key"]
    assert (ended.code, ended.errors) == (1, "")
    (said,) = (line for line in ended.out.splitlines() if line.startswith("FAIL definitions: "))
    assert f"/orders/defs.yaml, line {wrong.line}: {wrong.told}" in said


def test_doctor_goes_on_after_a_dataset_whose_url_its_driver_does_not_take(
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
    said = "the URL in SYNC_SOURCE_URL cannot be used: TypeError: "
    assert [line.partition("Connection")[0] for line in found] == [
        f"FAIL dataset events: {said}",
        f"FAIL dataset orders: {said}",
    ]
    assert all("'foo'; correct its options: foo" in line for line in found)
    assert "s3cret" not in ended.out + ended.errors


def test_what_is_no_yaml_at_all_is_told_in_one_line_with_its_file(
    target_url: str, tmp_path: Path
) -> None:
    misspell(tmp_path, Wrong("source: {", "source: [", 6, "", ""))
    ours = {"SYNC_DATABASE_URL": target_url, "SYNC_PROJECT_DIR": str(tmp_path)}
    ended = run(ours, "backfill", "orders", "2025-01-01", "2025-01-02", SYNC_DATA_DIR=str(tmp_path))
    assert (ended.code, ended.out, ended.errors.count("\n")) == (2, "", 1)
    assert f'{tmp_path}/team/datasets/orders/defs.yaml", line 6, column ' in ended.errors
    assert "'dg check yaml' and 'dg check defs' in that folder say where" in ended.errors


def test_a_wrong_yaml_leaves_no_record(told: dict[tuple[str, str], Ended], target_url: str) -> None:
    with closing(psycopg2.connect(target_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM daily_sync_status")
        assert cursor.fetchone() == (0,)


def test_datasets_of_one_name_and_of_one_table_are_refused_with_both_files(
    target_url: str, tmp_path: Path
) -> None:
    write_project(tmp_path, {"orders": "single_run", "events": "2"})
    ours = {"SYNC_DATABASE_URL": target_url, "SYNC_PROJECT_DIR": str(tmp_path)}
    words = ("backfill", "orders", "2025-01-01", "2025-01-02")
    datasets = tmp_path / "team" / "datasets"
    events, orders = (datasets / name / "defs.yaml" for name in ("events", "orders"))
    events.write_text(events.read_text().replace("{table: events}", "{table: public.orders}"))
    one_table = run(ours, *words, SYNC_DATA_DIR=str(tmp_path / "data"))
    (datasets / "old").mkdir()
    events.parent.rename(datasets / "old" / "orders")
    one_name = run(ours, *words, SYNC_DATA_DIR=str(tmp_path / "data"))
    assert [(ended.code, ended.errors.count("\n")) for ended in (one_table, one_name)] == [
        (2, 1),
        (2, 1),
    ]
    assert "both load the table" in one_table.errors
    assert f"{events}" in one_table.errors
    assert f"{orders}" in one_table.errors
    assert "two datasets are called orders: " in one_name.errors
    assert f"{orders}" in one_name.errors
    assert f"{datasets / 'old' / 'orders' / 'defs.yaml'}" in one_name.errors
