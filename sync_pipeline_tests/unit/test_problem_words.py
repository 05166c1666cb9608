"""The words by which the API names problems: all in its page, and said by the web page in both
languages with what comes with them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline.api import problems
from sync_pipeline.errors import SyncError
from sync_pipeline.settings import PROJECT_ROOT

pytestmark = pytest.mark.unit

PACKAGE = PROJECT_ROOT / "sync_pipeline"
SOURCES = [
    *sorted((PACKAGE / "api").glob("*.py")),
    *(PACKAGE / "dataset.py", PACKAGE / "launch.py"),
    *sorted((PACKAGE / "tracking").glob("*.py")),
]
NO_PARAMETER = {"field", "headers"}
KINDS = {"title", "back", "other", "unreachable", "status"}


def raised(source: Path) -> Iterator[tuple[str, set[str]]]:
    """The codes that a file raises, each with the names of its parameters."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            at = {"ProblemError": 1, "RequestError": 1}.get(node.func.id)
            if at is not None and len(node.args) > at and isinstance(node.args[at], ast.Constant):
                names = {str(keyword.arg) for keyword in node.keywords}
                yield str(node.args[at].value), names - NO_PARAMETER  # type: ignore[attr-defined]


def codes() -> dict[str, set[str]]:
    """Every code, with the parameters that always come with it."""
    found: dict[str, set[str]] = {}
    for source in SOURCES:
        for code, names in raised(source):
            found[code] = found.get(code, names) & names
    for code in (*dict(problems._AWAY).values(), *(code for code, _ in problems._DETAILS.values())):
        found.setdefault(code, set())
    for code in (*problems._INVALID.values(), "invalid", "invalid_date", "no_body"):
        found.setdefault(code, {"name"})
    return found


def texts(language: str) -> dict[str, str]:
    """What the web page says for codes."""
    script = (PACKAGE / "api" / "static" / f"{language}.js").read_text("utf-8")
    said = re.findall(r'^  "problem\.(\w+)":\s*"(.*)",$', script, re.M)
    return {code: text for code, text in said if code not in KINDS and not code.isdigit()}


def test_every_code_stands_in_the_page_of_the_api_and_no_other_does() -> None:
    page = (PROJECT_ROOT / "docs" / "api.md").read_text("utf-8")
    section = page.split("## Problems")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section)) - {"code", "refused"}
    assert named == set(codes())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_the_web_page_says_for_a_code_names_only_what_comes_with_it(language: str) -> None:
    known = codes()
    for code, text in texts(language).items():
        assert set(re.findall(r"\{(\w+)\}", text)) <= known[code], code
    assert set(texts("en")) == set(texts("zh"))
    # The others are about requests that the web page does not make.
    assert set(known) - set(texts(language)) == {
        *("invalid", "missing_field", "no_body", "no_page", "invalid_cursor", "not_available"),
        *("not_declared_json", "not_json", "too_large", "unknown_field", "wrong_method"),
    }


def test_each_error_of_ours_has_a_code() -> None:
    assert problems._AWAY[-1][0] is SyncError
