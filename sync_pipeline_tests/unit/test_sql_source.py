"""The keys of a `sql` source: errors for invalid ones, and their documentation."""

from typing import Any

import pytest
from pydantic import ValidationError

from sync_pipeline.config.sources import SqlSource
from sync_pipeline.settings import PROJECT_ROOT

pytestmark = pytest.mark.unit

GIVEN = {"type": "sql", "url_env": "SHOP_URL", "day_column": "day"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "give exactly one of 'table' and 'query'"),
        ({"table": "t", "query": "SELECT 1"}, "give exactly one of 'table' and 'query'"),
        ({"query": "SELECT 1; "}, "'query' ends with ';'; remove the ';'"),
        ({"table": "t", "ready_query": "SELECT 1;"}, "'ready_query' ends with ';'"),
        ({"table": "t", "columns": ["id"]}, "'columns' must contain the day_column 'day'"),
        ({"table": "t", "columns": ["day", "day"]}, "'columns' contains 'day' twice"),
        ({"table": "t", "types": {"id": "big int!"}}, "must be a PostgreSQL type"),
        ({"table": "a.b.c"}, "should match pattern"),
        ({"table": "t", "url_env": "mysql://u:p@h/d"}, "must be the NAME of an environment"),
        ({"table": "t", "zero_date": "fail"}, "did you mean 'zero_dates'"),
    ],
    ids=str,
)
def test_an_invalid_key_is_reported(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SqlSource.model_validate(GIVEN | keys)
    assert message in str(caught.value)


def test_every_key_is_documented() -> None:
    page = (PROJECT_ROOT / "docs/sources/sql.md").read_text(encoding="utf-8")
    for name in set(SqlSource.model_fields) - {"type"}:
        assert f"| `{name}` |" in page, name
