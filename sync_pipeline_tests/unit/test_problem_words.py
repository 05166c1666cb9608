"""The API's problem codes: docs/api.md lists all of them, and the web page translates them."""

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
    *sorted((PACKAGE / "api").rglob("*.py")),
    PACKAGE / "config" / "dataset.py",
    *sorted((PACKAGE / "tracking").rglob("*.py")),
]
NOT_PARAMS = {"field", "headers"}
OTHER_TEXTS = {"title", "back", "other", "unreachable", "status"}
ERRORS = {"ProblemError", "RequestError", "RetryRefusedError"}


def raised(source: Path) -> Iterator[tuple[str, set[str]]]:
    """Yield the codes that a file raises, each with the names of its parameters."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            code = node.args[1] if len(node.args) > 1 else None
            if node.func.id in ERRORS and isinstance(code, ast.Constant):
                yield str(code.value), {str(keyword.arg) for keyword in node.keywords} - NOT_PARAMS


def codes() -> dict[str, set[str]]:
    """Return each code with the parameters that it always has."""
    found: dict[str, set[str]] = {}
    for source in SOURCES:
        for code, names in raised(source):
            found[code] = found.get(code, names) & names
    for code in (
        *dict(problems._UNAVAILABLE).values(),
        *(code for code, _ in problems._DETAILS.values()),
    ):
        found.setdefault(code, set())
    for code in (*problems._INVALID.values(), "invalid", "invalid_date", "no_body"):
        found.setdefault(code, {"name"})
    return found


def texts(language: str) -> dict[str, str]:
    """Return the web page's texts in this language, by code."""
    script = (PACKAGE / "api" / "static" / f"{language}.js").read_text("utf-8")
    found = re.findall(r'^  "problem\.(\w+)":\s*"(.*)",$', script, re.M)
    return {code: text for code, text in found if code not in OTHER_TEXTS and not code.isdigit()}


def test_the_api_document_lists_exactly_the_raised_codes() -> None:
    page = (PROJECT_ROOT / "docs" / "api.md").read_text("utf-8")
    section = page.split("## Problems")[1].split("\n## ")[0]
    listed = set(re.findall(r"`(\w+)`", section)) - {"code", "refused"}
    assert listed == set(codes())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_web_page_translates_each_code_with_its_parameters(language: str) -> None:
    known = codes()
    for code, text in texts(language).items():
        assert set(re.findall(r"\{(\w+)\}", text)) <= known[code], code
    assert set(texts("en")) == set(texts("zh"))
    # The page never sends any request that causes one of the other codes.
    assert set(known) - set(texts(language)) == {
        *("invalid", "missing_field", "no_body", "no_page", "invalid_cursor", "not_available"),
        *("malformed_request", "request_timeout", "headers_too_large"),
        *("not_declared_json", "not_json", "too_large", "unknown_field", "wrong_method"),
    }


def test_every_sync_error_has_a_code() -> None:
    assert problems._UNAVAILABLE[-1][0] is SyncError
