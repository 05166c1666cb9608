"""The private Dagster names that the product imports exist in the installed version."""

import ast
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from sync_pipeline.orchestration.dagster.internals import (
    QueuedRunCoordinator,
    set_backfill_interval,
    set_queue_interval,
)
from sync_pipeline.settings import PROJECT_ROOT

INTERNALS = PROJECT_ROOT / "sync_pipeline/orchestration/dagster/internals.py"
IMPORTED = [
    (node.module, name.name)
    for node in ast.walk(ast.parse(INTERNALS.read_text(encoding="utf-8")))
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster")
    for name in node.names
]


def dagster_modules_of(file: Path) -> list[str]:
    """Return the Dagster modules that `file` imports, including imports under TYPE_CHECKING."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    found = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    found += [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    return [module for module in found if module.split(".")[0].startswith("dagster")]


@pytest.mark.parametrize(("module", "name"), IMPORTED)
def test_a_private_name_still_exists(module: str, name: str) -> None:
    found = importlib.import_module(module)
    exists = hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}")
    assert exists, f"{module}.{name} moved; change internals.py"


def test_the_daemons_check_for_backfills_reads_the_changed_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    constant = "dagster._daemon.controller.DEFAULT_DAEMON_INTERVAL_SECONDS"
    monkeypatch.setattr(constant, 30)  # restored after the test
    assert set_backfill_interval(2)
    assert (
        importlib.import_module("dagster._daemon.controller").DEFAULT_DAEMON_INTERVAL_SECONDS == 2
    )


def test_if_dagster_has_moved_the_interval_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("dagster._daemon.controller.DEFAULT_DAEMON_INTERVAL_SECONDS")
    assert not set_backfill_interval(2)


def test_the_daemon_checks_the_run_queue_as_often_as_set_unless_it_is_configured() -> None:
    every_second, every_minute = (
        QueuedRunCoordinator(dequeue_interval_seconds=seconds) for seconds in (1, 60)
    )
    for coordinator in (every_second, every_minute):
        set_queue_interval(SimpleNamespace(run_coordinator=coordinator), 0.5)  # type: ignore[arg-type]
    assert every_second.dequeue_interval_seconds == 0.5
    assert every_minute.dequeue_interval_seconds == 60


def test_dagster_dev_starts_its_daemon_as_the_product_expects() -> None:
    source = inspect.getsource(importlib.import_module("dagster._cli.dev"))
    assert "daemon_process = open_ipc_subprocess(" in source
    assert re.search(r'"-m",\s+"dagster._daemon",\s+"run",', source)


def test_dagsters_private_names_are_imported_in_one_module_only() -> None:
    files = list((PROJECT_ROOT / "sync_pipeline").rglob("*.py"))
    private = {
        str(file.relative_to(PROJECT_ROOT))
        for file in files
        if any("._" in module for module in dagster_modules_of(file))
    }
    assert private == {str(INTERNALS.relative_to(PROJECT_ROOT))}


def test_dagster_is_imported_under_orchestration_and_in_definitions_only() -> None:
    package = PROJECT_ROOT / "sync_pipeline"
    outside = [
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if dagster_modules_of(file)
        and not file.relative_to(package).as_posix().startswith("orchestration/")
    ]
    assert outside == ["definitions.py"]
