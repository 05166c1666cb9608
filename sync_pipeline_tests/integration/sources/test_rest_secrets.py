"""Credentials reach the API's own host, and nothing else: no other host, no error, no log."""

import logging
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dlt.common import logger as dlt_logger

from sync_pipeline.errors import SettingError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing
from sync_pipeline_tests.integration.sources.rest_server import (
    Api,
    BackgroundCache,
    Reply,
    keys,
    rows,
    running,
)

pytestmark = pytest.mark.integration

SECRET = "s3cr/t+K&y"  # noqa: S105  needs encoding in a URL
BASIC = b64encode(f"amy:{SECRET}".encode()).decode()
BEARER = {"type": "bearer", "token_env": "API_SECRET"}
IN_HEADER = {"type": "api_key", "key_env": "API_SECRET", "name": "X-Key"}
IN_QUERY = {"type": "api_key", "key_env": "API_SECRET", "name": "appid", "location": "query"}
PASSWORD = {"type": "basic", "username_env": "API_USER", "password_env": "API_SECRET"}
AUTHS = pytest.mark.parametrize("auth", [BEARER, IN_HEADER, IN_QUERY, PASSWORD], ids=str)
QUICK: dict[str, Any] = {"retry": {"max_attempts": 1, "initial_backoff_seconds": 0.01}}


@pytest.fixture
def other() -> Iterator[Api]:
    with running() as other:
        yield other


@pytest.fixture(autouse=True)
def environment(syncing: Syncing) -> None:
    syncing.settings |= {"API_SECRET": SECRET, "API_USER": "amy"}


def carries(asked: BackgroundCache) -> bool:
    return (
        asked.headers.get("authorization") in (f"Bearer {SECRET}", f"Basic {BASIC}")
        or asked.headers.get("x-key") == SECRET
        or asked.query.get("appid") == SECRET
    )


def echo(status: int) -> Callable[[BackgroundCache], Reply]:
    """Answer with all that was sent, as no JSON."""
    return lambda asked: Reply(f"{asked.headers} {asked.query}".encode(), status)


def shows(text: str) -> bool:
    return any(form in text for form in (SECRET, "s3cr%2Ft%2BK%26y", "s3cr/t%2BK%26y", BASIC))


@AUTHS
def test_the_api_gets_the_credentials_on_every_page(
    syncing: Syncing, api: Api, auth: dict[str, Any]
) -> None:
    api.replies({"data": rows(1), "next": "/two?a=b"}, {"data": rows(2), "next": None})
    how = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, auth=auth, paginator=how))
    assert done.outcome is Outcome.SUCCESS
    assert [carries(asked) for asked in api.asked] == [True, True]


@AUTHS
@pytest.mark.parametrize("style", ["redirect", "next page"])
def test_another_host_does_not_get_them(
    syncing: Syncing, api: Api, other: Api, auth: dict[str, Any], style: str
) -> None:
    # The server itself writes the key where it sends us: it is not carried on even so.
    elsewhere = f"{other.url}/file?appid=s3cr%2Ft%2BK%26y&sig=a%2fb"
    if style == "redirect":
        api.replies(Reply(b"", 302, {"Location": elsewhere}))
    else:
        api.replies({"data": rows(2), "next": elsewhere})
    other.replies({"data": rows(1), "next": None})
    how = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, auth=auth, paginator=how))
    assert done.outcome is Outcome.SUCCESS
    assert carries(api.asked[0])
    (asked,) = other.asked
    assert asked.query["sig"] == "a/b"
    if auth is IN_QUERY:
        assert "appid" not in asked.query
    assert not carries(BackgroundCache(**vars(asked) | {"query": {}}))


def test_a_redirect_within_the_host_keeps_them(syncing: Syncing, api: Api) -> None:
    api.replies(Reply(b"", 301, {"Location": "/orders/"}), {"data": rows(1)})
    (done,) = syncing.sync(keys(api, auth=BEARER))
    assert done.outcome is Outcome.SUCCESS
    assert [carries(asked) for asked in api.asked] == [True, True]


def test_a_password_in_a_netrc_is_given_to_nobody(
    syncing: Syncing, api: Api, other: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login amy password n3trc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    other.replies({"access_token": "t0ken"}, Reply({"data": rows(1)}))
    for auth in (None, oauth(other)):
        api.replies(Reply(b"", 302, {"Location": f"{other.url}/data"}))
        if auth is None:
            api.replies({"data": rows(1)})
        (done,) = syncing.sync(keys(api, auth=auth), **QUICK)
        assert done.error is None
    sent = [asked.headers.get("authorization") for asked in (*api.asked, *other.asked)]
    assert sent == [None, "Bearer t0ken", None, None]


def test_redirects_end(syncing: Syncing, api: Api) -> None:
    api.replies(Reply(b"", 302, {"Location": "/orders"}))
    (done,) = syncing.sync(keys(api), **QUICK)
    assert "redirected too often" in (done.error or "")


def test_a_post_is_not_redirected(syncing: Syncing, api: Api, other: Api) -> None:
    api.replies(Reply(b"", 307, {"Location": f"{other.url}/x"}))
    (done,) = syncing.sync(keys(api, method="POST", body={"a": 1}), **QUICK)
    assert f"307: a POST is redirected to {other.url}/x; correct" in (done.error or "")
    assert other.asked == []


@AUTHS
@pytest.mark.parametrize(
    "reply",
    [
        echo(400),
        echo(503),
        echo(200),
        Reply({"data": rows(1)}, cut=True),
        Reply({"data": rows(1), "next": "/orders?appid=s3cr%2Ft%2BK%26y"}),
        Reply({"data": rows(1), "next": "http://127.0.0.1:1/?appid=s3cr%2Ft%2BK%26y"}),
    ],
    ids=["400", "503", "no json", "cut", "circle", "unreachable"],
)
def test_no_error_and_no_log_shows_them(
    syncing: Syncing,
    api: Api,
    auth: dict[str, Any],
    reply: Reply | Callable[[BackgroundCache], Reply],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dlt_logger, "LOGGER", logging.getLogger("dlt"))
    caplog.set_level(logging.DEBUG)
    api.answer = reply if callable(reply) else lambda _: reply
    how = {"type": "json_link", "next_url_path": "next"}
    source = open_source(
        syncing.dataset(keys(api, auth=auth, max_attempts=2, paginator=how), **QUICK),
        Settings(syncing.settings),
    )
    with closing(source), open("/dev/null", "wb") as out, pytest.raises(SourceError) as caught:
        source.read_day(DAY, out, CopyFormat.TEXT)
    assert "dataset landed: cannot read" in str(caught.value)
    assert not shows("".join(traceback.format_exception(caught.value)))
    assert not shows(caplog.text)
    assert not shows(repr(source))


def test_the_key_of_a_query_is_left_out_and_the_rest_shown(syncing: Syncing, api: Api) -> None:
    api.replies(Reply({}, 400))
    (done,) = syncing.sync(keys(api, auth=IN_QUERY, params={"day": "{day}"}), **QUICK)
    assert f"GET {api.url}/orders?day=2025-10-01: 400" in (done.error or "")


def test_an_address_out_of_the_environment_is_shown_by_its_name(syncing: Syncing, api: Api) -> None:
    syncing.settings["API_URL"] = f"{api.url}/hook/T0PS3CR3T/"
    refusal = Reply(b"Cannot GET /hook/T0PS3CR3T/two", 400)
    api.replies({"data": rows(1), "next": "/hook/T0PS3CR3T/two"}, refusal)
    source = keys(
        api, base_url_env="API_URL", paginator={"type": "json_link", "next_url_path": "next"}
    )
    del source["base_url"]
    (done,) = syncing.sync(source, **QUICK)
    assert "GET $API_URL/two: 400" in (done.error or "")
    assert api.asked[0].path == "/hook/T0PS3CR3T/orders"
    assert "T0PS3CR3T" not in (done.error or "")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("API_SECRET", "", "API_SECRET is not set; set it to the API's token .dataset landed"),
        ("API_SECRET", "s3cr\r\nX: y", "API_SECRET holds a character that cannot stand in"),
        ("API_SECRET", "s3cré", "API_SECRET holds a character that cannot stand in"),
        ("API_URL", "https://amy:s3cr@host/", "API_URL must not hold a user name or a password"),
        ("API_URL", "s3cr", "API_URL must begin with https:// or http:// and name a host"),
        ("API_URL", "http://h:s3cr/", "API_URL must be a valid URL"),
    ],
)
def test_a_setting_that_is_wrong_is_named_without_its_value(
    syncing: Syncing, api: Api, name: str, value: str, said: str
) -> None:
    syncing.settings |= {"API_URL": api.url, name: value}
    source = keys(api, base_url_env="API_URL", auth=BEARER)
    del source["base_url"]
    with pytest.raises(SettingError, match=said) as caught:
        syncing.sync(source)
    assert "s3cr" not in str(caught.value)


def oauth(other: Api) -> dict[str, Any]:
    return {
        "type": "oauth2_client_credentials",
        "token_url": f"{other.url}/token",
        "client_id_env": "API_USER",
        "client_secret_env": "API_SECRET",
        "scope": "orders.read",
    }


def test_a_token_is_asked_for_once_and_anew_when_it_is_no_longer_taken(
    syncing: Syncing, api: Api, other: Api
) -> None:
    given = iter(["first", "second"])
    other.answer = lambda _: {"access_token": next(given), "expires_in": 3600}
    api.replies(
        {"data": rows(1), "next": "/two"},
        Reply({}, 401),
        {"data": rows(2), "next": None},
    )
    how = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, auth=oauth(other), paginator=how), **QUICK)
    assert done.error is None
    assert [asked.headers["authorization"] for asked in api.asked] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]
    assert other.asked[0].body == (
        b"client_id=amy&client_secret=s3cr%2Ft%2BK%26y"
        b"&grant_type=client_credentials&scope=orders.read"
    )


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply({"error": SECRET}, 401), "no token was given: 401 Unauthorized; check 'auth'"),
        (Reply({}, 503), "no token was given: 503 Service Unavailable"),
        (Reply({"token": "x"}), "/token answered without an access_token"),
        (Reply([]), "/token answered without an access_token"),
        (Reply(b"<html>"), "no usable answer (JSONDecodeError)"),
        (Reply(b"", 307, {"Location": "/elsewhere"}), "redirected too often"),
    ],
)
def test_a_token_that_is_not_given_is_said(
    syncing: Syncing, api: Api, other: Api, reply: Reply, said: str
) -> None:
    other.replies(reply)
    (done,) = syncing.sync(keys(api, auth=oauth(other), max_attempts=1), **QUICK)
    assert said in (done.error or "")
    assert not shows(done.error or "")
    assert (api.asked, len(other.asked)) == ([], 1)
