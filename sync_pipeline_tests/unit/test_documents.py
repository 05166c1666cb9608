"""The documents are complete and consistent: settings, commands, columns, calls, links, examples.

docs/datasets.md is checked in `test_dataset_reference.py` instead.
"""

import json
import re

import pytest
import yaml
from typer.main import get_command

from sync_pipeline import settings
from sync_pipeline.api.app import make_app
from sync_pipeline.api.config import Config
from sync_pipeline.api.models import RecordOut
from sync_pipeline.cli.app import app
from sync_pipeline.config import dataset
from sync_pipeline.exit_codes import ExitCode
from sync_pipeline.settings import PROJECT_ROOT

pytestmark = pytest.mark.unit

READMES = ["README.md", "README.zh-CN.md"]
DOCUMENTS = [
    *READMES,
    *("CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md"),
    *sorted(str(path.relative_to(PROJECT_ROOT)) for path in PROJECT_ROOT.glob("docs/**/*.md")),
]


def text(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[str]:
    """Return the code blocks in a document, without trailing comments."""
    found = re.findall(r"^```\w*\n(.*?)^```", text(name), re.M | re.S)
    return [re.sub(r"\s+# .*", "", block) for block in found]


def test_every_setting_is_in_the_example_environment_file() -> None:
    named = {
        value
        for name, value in vars(settings).items()
        if name.endswith(("_URL", "_DIR", "_SECONDS", "_TOKENS", "_SECRET"))
    }
    for name in named:
        assert re.search(rf"^#{name}=", text(".env.example"), re.M), name


def test_the_example_environment_file_names_only_settings_that_exist() -> None:
    named = set(re.findall(r"^#(SYNC_\w+)=", text(".env.example"), re.M))
    assert named <= {value for value in vars(settings).values() if isinstance(value, str)}


def test_every_command_and_option_is_in_the_operations_page() -> None:
    page = text("docs/operations.md")
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        (line,) = [row for row in page.splitlines() if row.startswith(f"| `sync-pipeline {name}")]
        for parameter in command.params:
            option = parameter.opts[0] if parameter.opts[0] != "--help" else name
            shown = option if option.startswith("--") else option.upper()
            assert shown in line or option == name, f"{name}: {shown}"


def test_every_exit_code_is_in_the_operations_page() -> None:
    for code in ExitCode:
        assert f"| {code.value} |" in text("docs/operations.md"), code


def test_every_column_and_view_is_in_the_contract() -> None:
    versions = PROJECT_ROOT / "sync_pipeline" / "database" / "migrations" / "versions"
    schema = "".join(file.read_text("utf-8") for file in sorted(versions.glob("*.sql")))
    contract = text("docs/contract.md")
    renamed = {
        (table, old): new
        for table, old, new in re.findall(
            r"ALTER TABLE (\w+)\s+RENAME (?:COLUMN )?(\w+) TO (\w+)", schema
        )
    }
    for table, written in re.findall(r"COMMENT ON COLUMN (\w+)\.(\w+)", schema):
        column = renamed.get((table, written), written)
        section = contract.split(f"## `{table}`")[1].split("\n## ")[0]
        assert f"| `{column}` |" in section, f"{table}.{column}"
    for view in re.findall(r"COMMENT ON VIEW (\w+)", schema):
        assert f"| `{view}` |" in contract, view


def test_every_call_and_its_parameters_are_in_the_api_page() -> None:
    page = text("docs/api.md")
    app, _ = make_app(Config("postgresql://db/x", "SYNC_DATABASE_URL"))
    for path, methods in app.openapi()["paths"].items():
        for method, call in methods.items():
            assert f"`{method.upper()} {path.removeprefix('/api/v1')}`" in page
            for parameter in call.get("parameters", ()):
                name = parameter["name"]
                if parameter["in"] != "path" and name != "sync_session":
                    assert re.search(rf"[`?]{name}\b", page), f"{path}: {name}"
    for metric in re.findall(r'"(sync_\w+)"', text("sync_pipeline/api/metrics.py")):
        assert f"`{metric}" in page, metric


def test_the_api_returns_every_column_of_a_record() -> None:
    versions = PROJECT_ROOT / "sync_pipeline" / "database" / "migrations" / "versions"
    schema = "".join(file.read_text("utf-8") for file in versions.glob("*.sql"))
    columns = set(re.findall(r"COMMENT ON COLUMN daily_sync_status\.(\w+)", schema))
    assert columns <= set(RecordOut.model_fields)


@pytest.mark.parametrize("readme", READMES)
def test_each_readme_is_short(readme: str) -> None:
    assert len(text(readme).splitlines()) <= 120


def test_the_chinese_readme_has_the_structure_of_the_english_one() -> None:
    english, chinese = (text(name) for name in READMES)
    for pattern in (r"^#+ ", r"^\|", r"^- ", r"\]\([^)]+\)"):
        assert len(re.findall(pattern, english, re.M)) == len(re.findall(pattern, chinese, re.M))
    assert blocks(READMES[0]) == blocks(READMES[1])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_has_a_target(document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", text(document)):
        if not target.startswith("http"):
            assert (PROJECT_ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_section_has_a_heading(document: str) -> None:
    for file, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text(document)):
        target = (PROJECT_ROOT / document).parent / file if file else PROJECT_ROOT / document
        headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
        assert anchor in {
            re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings
        }, f"{file}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_mentioned_make_target_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.M))
    assert set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(blocks(document)))) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_example_dataset_is_valid_and_survives_a_json_round_trip(
    document: str,
) -> None:
    examples = [block for block in blocks(document) if block.startswith("type: ")]
    for example in examples:
        given = yaml.safe_load(example)
        assert given["type"] == "sync_pipeline.DailySync"
        read = dataset.Dataset.model_validate(given["attributes"] | {"name": "orders"})
        assert dataset.Dataset.model_validate(json.loads(json.dumps(read.as_json()))) == read
    assert examples or document not in READMES
