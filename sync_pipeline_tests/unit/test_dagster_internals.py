"""The private Dagster names that the product imports exist in the installed version."""

import ast
import importlib
from pathlib import Path

import pytest

from sync_pipeline.settings import PROJECT_ROOT

INTERNALS = PROJECT_ROOT / "sync_pipeline/orchestration/dagster/internals.py"
IMPORTED = [
    (node.module, name.name)
    for node in ast.parse(INTERNALS.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module
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
    assert hasattr(importlib.import_module(module), name), (
        f"{module}.{name} moved; change internals.py"
    )


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
