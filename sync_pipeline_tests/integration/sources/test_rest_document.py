"""The example in docs/sources/rest.md works unchanged with the response shown there."""

import json
import re
from datetime import datetime, timezone
from decimal import Decimal

import pytest
import yaml

from sync_pipeline.settings import PROJECT_ROOT
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing
from sync_pipeline_tests.integration.sources.rest_server import Api, Reply

pytestmark = pytest.mark.integration

PAGE = (PROJECT_ROOT / "docs/sources/rest.md").read_text(encoding="utf-8")


def code_block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return str(found)


def test_the_example_runs(syncing: Syncing, api: Api) -> None:
    example = yaml.safe_load(code_block("yaml"))
    assert example["type"] == "sync_pipeline.DailySync"
    assert json.loads(code_block("json"))["total"] == 2
    api.respond = lambda _: Reply(code_block("json").encode())
    syncing.settings |= {"SHOP_API_URL": f"{api.url}/v1", "SHOP_API_TOKEN": "t0ken"}
    attributes = example["attributes"]
    (done,) = syncing.sync(attributes.pop("source"), [DAY], **attributes)
    assert (done.outcome, done.error) == (Outcome.SUCCESS, None)
    (request,) = api.requests
    assert (request.path, request.headers["authorization"]) == ("/v1/orders", "Bearer t0ken")
    assert request.query == {
        "from": "2025-10-01T00:00:00+08:00",
        "to": "2025-10-02T00:00:00+08:00",
        "limit": "100",
    }
    assert syncing.rows("SELECT * FROM orders ORDER BY id") == [
        (
            1,
            datetime(2025, 10, 1, 0, 30, tzinfo=timezone.utc),
            Decimal("9.90"),
            "Zoë",
            ["a"],
        ),
        (2, datetime(2025, 10, 1, 15, 59, 59, tzinfo=timezone.utc), Decimal("0.10"), None, []),
    ]
