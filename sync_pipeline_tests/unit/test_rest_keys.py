"""The keys of a `rest` source: their valid and invalid values, and their documentation."""

import re
from datetime import date
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, ValidationError

from sync_pipeline.config.sources import RestSource, rest_auth, rest_pages
from sync_pipeline.config.sources.json_path import MISSING, find, steps_of
from sync_pipeline.config.sources.placeholders import fill, values_of
from sync_pipeline.settings import PROJECT_ROOT

pytestmark = pytest.mark.unit

DAY = date(2025, 10, 1)
SHANGHAI = ZoneInfo("Asia/Shanghai")
PAGE = (PROJECT_ROOT / "docs/sources/rest.md").read_text(encoding="utf-8")


def source(**changes: Any) -> RestSource:
    defaults: dict[str, Any] = {
        "type": "rest",
        "base_url": "https://api.example.com/v1/",
        "paginator": {"type": "single_page"},
        "records": "$",
        "columns": {"id": "bigint"},
    }
    return RestSource.model_validate(defaults | changes)


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", ()),
        ("$.data.orders", ("data", "orders")),
        ("d.results[0].x-y", ("d", "results", 0, "x-y")),
        ("$['@odata.count']", ("@odata.count",)),
        ('$["it\'s"][12]', ("it's", 12)),
        ("$[3]", (3,)),
        ("日.本", ("日", "本")),
    ],
)
def test_a_path_consists_of_names_and_indexes(path: str, steps: tuple[str | int, ...]) -> None:
    assert steps_of(path) == steps


@pytest.mark.parametrize("path", ["$..a", "a[*]", "a[?(@.b)]", "a[-1]", "a.", "a[1", "a b", "$ "])
def test_any_other_path_is_rejected(path: str) -> None:
    with pytest.raises(ValueError, match="must be a path of names and indexes"):
        steps_of(path)


def test_null_is_found_and_an_absent_field_is_missing() -> None:
    document = {"a": [{"b": None}]}
    assert find(steps_of("a[0].b"), document) is None
    for path in ("a[1].b", "a.b", "a[0].b.c", "c", "$[0]"):
        assert find(steps_of(path), document) is MISSING


def test_every_placeholder_has_its_documented_value() -> None:
    values = values_of(DAY, SHANGHAI)
    (table,) = re.findall(r"\| placeholder.*?\n\n", PAGE, re.S)
    documented = []
    for row in table.splitlines()[2:]:
        if row:
            left, right = row.strip("|").split("|")
            templates = re.findall(r"`(.*?)`", left)
            message = re.findall(r"`(.*?)`", right)[: len(templates)]
            assert [str(fill(one, values)) for one in templates] == message
            documented += templates
    assert {f"{{{name}}}" for name in values} <= set(documented)


def test_a_numeric_placeholder_alone_is_a_number_and_braces_can_be_escaped() -> None:
    values = values_of(DAY, SHANGHAI)
    template = {"a": ["{begin_epoch}", "x{begin_epoch}", "{{day}}", True, None, 1.5]}
    assert fill(template, values) == {"a": [1759248000, "x1759248000", "{day}", True, None, 1.5]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": None}, "exactly one of 'base_url' and 'base_url_env'"),
        ({"base_url_env": "X"}, "exactly one of 'base_url' and 'base_url_env'"),
        ({"base_url": "ftp://host"}, "must begin with https:// or http://"),
        ({"base_url": "https://a:b@host"}, "must not contain a user name or a password"),
        ({"base_url": "https://a/b:secret@host"}, "must not contain a user name or a password"),
        ({"base_url": "https://host?key=x"}, "must not contain a query"),
        ({"path": "https://other/"}, "'path' is relative to the base URL"),
        ({"path": "a?b=c"}, "use 'params' for the query"),
        (
            {"path": "{today}"},
            "{today} in '{today}' is not a placeholder; use one of {day}, {next_day}",
        ),
        ({"params": {"a": "{day.__class__}"}}, "is not a placeholder"),
        ({"params": {"a": ["{day!r}"]}}, "is not a placeholder"),
        ({"method": "POST", "body": {"a": [{"b": "{nope}"}]}}, "is not a placeholder"),
        ({"body": {"a": 1}}, "needs method: POST"),
        (
            {"paginator": {"type": "cursor", "cursor_path": "a", "body_path": "b"}},
            "needs method: POST",
        ),
        ({"paginator": {"type": "cursor", "cursor_path": "a"}}, "exactly one of 'param' and 'bod"),
        ({"paginator": {"type": "guess"}}, "single_page"),
        ({"paginator": {"type": "json_link"}}, "next_url_path"),
        ({"headers": {"authorization": "x"}}, "'headers' must not contain secrets"),
        ({"columns": {"tags": "text[]"}}, "declare a JSON list as jsonb"),
        ({"paths": {"other": "$.x"}}, "'paths' contains 'other', which 'columns' does not declare"),
        ({"records": "$.data[*]"}, "must be a path of names and indexes"),
        (
            {"auth": {"type": "bearer", "token_env": "s3cr-et"}},
            "must be the NAME of an environment",
        ),
        ({"auth": {"type": "bearer", "token": "x"}}, "unknown key 'token', did you mean 'token_e"),
    ],
)
def test_invalid_keys_are_reported(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source(**changes)
    assert message in str(caught.value)


def test_the_paginator_must_be_chosen() -> None:
    with pytest.raises(ValidationError, match="paginator"):
        RestSource.model_validate(source().model_dump(exclude={"paginator"}))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ()),
        ({"base_url": None, "base_url_env": "URL"}, ("URL",)),
        (
            {"auth": {"type": "basic", "username_env": "USER_NAME", "password_env": "PASS"}},
            ("PASS",),
        ),
    ],
)
def test_secret_settings_are_listed(changes: dict[str, Any], names: tuple[str, ...]) -> None:
    assert source(**changes).secret_settings == names


def test_a_base_url_from_the_environment_is_shown_as_its_setting() -> None:
    assert source(path="/orders").origin == "https://api.example.com/v1/orders"
    assert source(base_url=None, base_url_env="URL", path="orders").origin == "$URL/orders"


def models(union: Any) -> tuple[type[BaseModel], ...]:
    return get_args(get_args(union)[0])


@pytest.mark.parametrize(
    "model", [RestSource, *models(rest_auth.Auth), *models(rest_pages.Paginator)]
)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        assert f"`{name}`" in PAGE or f"\n    {name}: " in PAGE, name
    (kind,) = get_args(model.model_fields["type"].annotation)
    assert f"`{kind}`" in PAGE or f"type: {kind}" in PAGE
