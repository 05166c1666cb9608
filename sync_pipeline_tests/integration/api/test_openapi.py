"""The OpenAPI document is complete, and nothing that fits it or doesn't makes the server fail."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline_tests.integration.api.client import BASE, Client
from sync_pipeline_tests.integration.api.conftest import TOKENS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DOCUMENT = f"{BASE}/openapi.json"


def test_no_call_in_whatever_form_gets_an_answer_that_the_document_does_not_have(
    guarded: Client, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{guarded.url}{DOCUMENT}"),
            *("-H", f"Authorization: Bearer {TOKENS['operator']}"),
            *("--generation-deterministic", "--max-examples", "20", "--no-color"),
            # A stream has no end; days that a dataset does not have fit the document.
            *("--exclude-path", f"{BASE}/events", "--exclude-checks", "positive_data_acceptance"),
            *("--suppress-health-check", "all", "--continue-on-failure", "--request-timeout", "30"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    assert "Selected: 15/16" in ended.stdout


def test_every_call_says_what_it_is_and_what_its_problems_look_like(alone: Client) -> None:
    document = alone.get(DOCUMENT).json
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            assert call["summary"], (method, path)
            if path.startswith(BASE):
                problem = call["responses"]["422"]["content"]["application/problem+json"]
                assert problem["schema"] == {"$ref": "#/components/schemas/ProblemOut"}
    schemas: dict[str, Any] = document["components"]["schemas"]
    for name in ("RecordOut", "BatchIn", "ProblemOut"):
        assert "example" in schemas[name]


def test_the_document_loads_nothing_from_elsewhere(alone: Client) -> None:
    for path in ("/docs", "/redoc"):
        assert alone.get(path).status == 404
