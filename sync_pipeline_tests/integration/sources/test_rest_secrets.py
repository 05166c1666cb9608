"""Credentials are sent only to the API's host, and no error or log shows them."""

import logging
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.errors import SettingError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing
from sync_pipeline_tests.integration.sources.rest_server import (
    Api,
    Reply,
    Request,
    keys,
    rows,
    running,
)

pytestmark = pytest.mark.integration

SECRET = "s3cr/t+K&y"  # noqa: S105  contains characters that must be encoded in URLs
BASIC = b64encode(f"amy:{SECRET}".encode()).decode()
BEARER = {"type": "bearer", "token_env": "API_SECRET"}
IN_HEADER = {"type": "api_key", "key_env": "API_SECRET", "name": "X-Key"}
IN_QUERY = {"type": "api_key", "key_env": "API_SECRET", "name": "appid", "location": "query"}
PASSWORD = {"type": "basic", "username_env": "API_USER", "password_env": "API_SECRET"}
AUTHS = pytest.mark.parametrize("auth", [BEARER, IN_HEADER, IN_QUERY, PASSWORD], ids=str)
FAST_RETRY: dict[str, Any] = {"retry": {"max_attempts": 1, "initial_backoff_seconds": 0.01}}


@pytest.fixture
def other() -> Iterator[Api]:
    with running() as other:
        yield other


@pytest.fixture(autouse=True)
def environment(syncing: Syncing) -> None:
    syncing.settings |= {"API_SECRET": SECRET, "API_USER": "amy"}


def has_credentials(request: Request) -> bool:
    return (
        request.headers.get("authorization") in (f"Bearer {SECRET}", f"Basic {BASIC}")
        or request.headers.get("x-key") == SECRET
        or request.query.get("appid") == SECRET
    )


def echo(status: int) -> Callable[[Request], Reply]:
    """Return a `respond` function that sends the whole request back as text that is not JSON."""
    return lambda request: Reply(f"{request.headers} {request.query}".encode(), status)


def contains_secret(text: str) -> bool:
    return any(form in text for form in (SECRET, "s3cr%2Ft%2BK%26y", "s3cr/t%2BK%26y", BASIC))


@AUTHS
def test_the_api_receives_the_credentials_with_every_page(
    syncing: Syncing, api: Api, auth: dict[str, Any]
) -> None:
    api.reply_with({"data": rows(1), "next": "/two?a=b"}, {"data": rows(2), "next": None})
    paginator = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, auth=auth, paginator=paginator))
    assert done.outcome is Outcome.SUCCESS
    assert [has_credentials(request) for request in api.requests] == [True, True]


@AUTHS
@pytest.mark.parametrize("style", ["redirect", "next page"])
def test_another_host_does_not_receive_the_credentials(
    syncing: Syncing, api: Api, other: Api, auth: dict[str, Any], style: str
) -> None:
    # The credentials are not sent even if the API puts the key into the other host's URL.
    elsewhere = f"{other.url}/file?appid=s3cr%2Ft%2BK%26y&sig=a%2fb"
    if style == "redirect":
        api.reply_with(Reply(b"", 302, {"Location": elsewhere}))
    else:
        api.reply_with({"data": rows(2), "next": elsewhere})
    other.reply_with({"data": rows(1), "next": None})
    paginator = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, auth=auth, paginator=paginator))
    assert done.outcome is Outcome.SUCCESS
    assert has_credentials(api.requests[0])
    (request,) = other.requests
    assert request.query["sig"] == "a/b"
    if auth is IN_QUERY:
        assert "appid" not in request.query
    assert not has_credentials(Request(**vars(request) | {"query": {}}))


def test_a_redirect_within_the_host_keeps_the_credentials(syncing: Syncing, api: Api) -> None:
    api.reply_with(Reply(b"", 301, {"Location": "/orders/"}), {"data": rows(1)})
    (done,) = syncing.sync(keys(api, auth=BEARER))
    assert done.outcome is Outcome.SUCCESS
    assert [has_credentials(request) for request in api.requests] == [True, True]


def test_a_password_in_a_netrc_file_is_never_sent(
    syncing: Syncing, api: Api, other: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login amy password n3trc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    other.reply_with({"access_token": "t0ken"}, Reply({"data": rows(1)}))
    for auth in (None, oauth_keys(other)):
        api.reply_with(Reply(b"", 302, {"Location": f"{other.url}/data"}))
        if auth is None:
            api.reply_with({"data": rows(1)})
        (done,) = syncing.sync(keys(api, auth=auth), **FAST_RETRY)
        assert done.error is None
    sent = [request.headers.get("authorization") for request in (*api.requests, *other.requests)]
    assert sent == [None, "Bearer t0ken", None, None]


def test_endless_redirects_are_an_error(syncing: Syncing, api: Api) -> None:
    api.reply_with(Reply(b"", 302, {"Location": "/orders"}))
    (done,) = syncing.sync(keys(api), **FAST_RETRY)
    assert "too many redirects" in (done.error or "")


def test_a_post_is_not_redirected(syncing: Syncing, api: Api, other: Api) -> None:
    api.reply_with(Reply(b"", 307, {"Location": f"{other.url}/x"}))
    (done,) = syncing.sync(keys(api, method="POST", body={"a": 1}), **FAST_RETRY)
    assert f"307: the POST was redirected to {other.url}/x; correct" in (done.error or "")
    assert other.requests == []


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
    ids=["400", "503", "no json", "cut", "loop", "unreachable"],
)
def test_errors_and_logs_do_not_show_the_credentials(
    syncing: Syncing,
    api: Api,
    auth: dict[str, Any],
    reply: Reply | Callable[[Request], Reply],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    api.respond = reply if callable(reply) else lambda _: reply
    paginator = {"type": "json_link", "next_url_path": "next"}
    source = open_source(
        syncing.dataset(keys(api, auth=auth, max_attempts=2, paginator=paginator), **FAST_RETRY),
        Settings(syncing.settings),
    )
    with closing(source), open("/dev/null", "wb") as out, pytest.raises(SourceError) as caught:
        source.read_day(DAY, out, CopyFormat.TEXT)
    assert "dataset landed: cannot read" in str(caught.value)
    assert not contains_secret("".join(traceback.format_exception(caught.value)))
    assert not contains_secret(caplog.text)
    assert not contains_secret(repr(source))


def test_an_error_shows_the_query_without_the_key(syncing: Syncing, api: Api) -> None:
    api.reply_with(Reply({}, 400))
    (done,) = syncing.sync(keys(api, auth=IN_QUERY, params={"day": "{day}"}), **FAST_RETRY)
    assert f"GET {api.url}/orders?day=2025-10-01: 400" in (done.error or "")


def test_a_base_url_from_the_environment_is_shown_as_its_setting(
    syncing: Syncing, api: Api
) -> None:
    syncing.settings["API_URL"] = f"{api.url}/hook/T0PS3CR3T/"
    refusal = Reply(b"Cannot GET /hook/T0PS3CR3T/two", 400)
    api.reply_with({"data": rows(1), "next": "/hook/T0PS3CR3T/two"}, refusal)
    source = keys(
        api, base_url_env="API_URL", paginator={"type": "json_link", "next_url_path": "next"}
    )
    del source["base_url"]
    (done,) = syncing.sync(source, **FAST_RETRY)
    assert "GET $API_URL/two: 400" in (done.error or "")
    assert api.requests[0].path == "/hook/T0PS3CR3T/orders"
    assert "T0PS3CR3T" not in (done.error or "")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("API_SECRET", "", "API_SECRET is not set; set it to the API token .dataset landed"),
        ("API_SECRET", "s3cr\r\nX: y", "API_SECRET contains a character that is not allowed in"),
        ("API_SECRET", "s3cré", "API_SECRET contains a character that is not allowed in"),
        ("API_URL", "https://amy:s3cr@host/", "API_URL must not contain a user name or a password"),
        ("API_URL", "s3cr", "API_URL must begin with https:// or http:// and contain a host"),
        ("API_URL", "http://h:s3cr/", "API_URL must be a valid URL"),
    ],
)
def test_an_invalid_setting_is_reported_without_its_value(
    syncing: Syncing, api: Api, name: str, value: str, message: str
) -> None:
    syncing.settings |= {"API_URL": api.url, name: value}
    source = keys(api, base_url_env="API_URL", auth=BEARER)
    del source["base_url"]
    with pytest.raises(SettingError, match=message) as caught:
        syncing.sync(source)
    assert "s3cr" not in str(caught.value)


def oauth_keys(other: Api) -> dict[str, Any]:
    return {
        "type": "oauth2_client_credentials",
        "token_url": f"{other.url}/token",
        "client_id_env": "API_USER",
        "client_secret_env": "API_SECRET",
        "scope": "orders.read",
    }


def test_a_token_is_requested_once_and_renewed_after_it_is_rejected(
    syncing: Syncing, api: Api, other: Api
) -> None:
    tokens = iter(["first", "second"])
    other.respond = lambda _: {"access_token": next(tokens), "expires_in": 3600}
    api.reply_with(
        {"data": rows(1), "next": "/two"},
        Reply({}, 401),
        {"data": rows(2), "next": None},
    )
    paginator = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, auth=oauth_keys(other), paginator=paginator), **FAST_RETRY)
    assert done.error is None
    assert [request.headers["authorization"] for request in api.requests] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]
    assert other.requests[0].body == (
        b"client_id=amy&client_secret=s3cr%2Ft%2BK%26y"
        b"&grant_type=client_credentials&scope=orders.read"
    )


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"error": SECRET}, 401), "the token request failed: 401 Unauthorized; check 'auth'"),
        (Reply({}, 503), "the token request failed: 503 Service Unavailable"),
        (Reply({"token": "x"}), "/token has no access_token"),
        (Reply([]), "/token has no access_token"),
        (Reply(b"<html>"), "/token has no access_token"),
        (
            Reply(b"", 307, {"Location": "/elsewhere"}),
            "the token request failed: 307 Temporary Redirect; check 'auth'",
        ),
    ],
)
def test_a_failed_token_request_is_reported(
    syncing: Syncing, api: Api, other: Api, reply: Reply, message: str
) -> None:
    other.reply_with(reply)
    (done,) = syncing.sync(keys(api, auth=oauth_keys(other), max_attempts=1), **FAST_RETRY)
    assert message in (done.error or "")
    assert not contains_secret(done.error or "")
    assert (api.requests, len(other.requests)) == ([], 1)
