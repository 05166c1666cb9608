"""Tokens, sessions and rate limits for API callers, and the addresses that the server accepts."""

import time

import pytest

from sync_pipeline.api.config import Config
from sync_pipeline.api.links import Links
from sync_pipeline.api.security.rate_limit import MAX_LAUNCHES, RateLimit
from sync_pipeline.api.security.tokens import (
    SESSION_SECONDS,
    Authority,
    Caller,
    new_token,
    parse_tokens,
)
from sync_pipeline.dagster_client.http import is_loopback
from sync_pipeline.errors import SettingError
from sync_pipeline.settings import Settings

pytestmark = pytest.mark.unit

HASH = "ab" * 32


def config(host: str = "127.0.0.1", **others: str) -> Config:
    return Config.of(Settings({"SYNC_DATABASE_URL": "postgresql://db/x", **others}), host)


def test_token_entries_may_contain_spaces_and_upper_case_hashes() -> None:
    found = parse_tokens(f" ada:operator:{HASH.upper()} , bob@x.org:reader:{HASH},")
    assert [(token.name, token.role, token.sha256) for token in found] == [
        ("ada", "operator", HASH),
        ("bob@x.org", "reader", HASH),
    ]
    assert parse_tokens(" ") == ()


@pytest.mark.parametrize(
    "text",
    [
        *("ada", "ada:operator", f"ada:admin:{HASH}", f"a b:reader:{HASH}", f":reader:{HASH}"),
        *(f"ada:reader:{HASH[:-1]}", f"ada:reader:{'é' * 64}", f"ada\n:reader:{HASH}"),
        f"{'a' * 65}:reader:{HASH}",
    ],
)
def test_an_invalid_entry_is_rejected_without_being_shown(text: str) -> None:
    with pytest.raises(SettingError, match=r"SYNC_API_TOKENS: entry 2 is not") as caught:
        parse_tokens(f"bob:reader:{HASH},{text}")
    assert HASH[:8] not in str(caught.value)


def test_a_session_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    token, entry = new_token("ada", "reader")
    authority = Authority(parse_tokens(entry), b"k" * 32)
    caller = authority.by_token(token)
    assert caller == Caller("ada", "reader", "token")
    assert caller is not None
    signed_in, cookie = authority.begin_session(caller)
    assert (signed_in.name, signed_in.role, signed_in.how) == ("ada", "reader", "session")
    assert authority.by_session(cookie) == signed_in
    later = time.time() + SESSION_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert authority.by_session(cookie) is None


def test_the_rate_limit_is_per_caller_and_refills_with_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate_limit = RateLimit()
    assert [rate_limit.acquire("ada") for _ in range(MAX_LAUNCHES)] == [0.0] * MAX_LAUNCHES
    assert 1 < rate_limit.acquire("ada") <= 2
    assert rate_limit.acquire("bob") == 0
    now += 2
    assert rate_limit.acquire("ada") == 0
    assert rate_limit.acquire("ada") > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_addresses_need_no_token(host: str) -> None:
    assert is_loopback(host)
    assert config(host).hosts is not None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "db.example", ""])  # noqa: S104
def test_other_addresses_need_tokens(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingError, match="SYNC_API_TOKENS must be set"):
        config(host)
    assert config(host, SYNC_API_TOKENS=f"ada:reader:{HASH}").hosts is None


def test_the_page_url_adds_an_accepted_host_and_makes_the_cookie_secure() -> None:
    found = config(SYNC_PAGE_URL="https://Sync.example:443/", SYNC_API_TOKENS=f"ada:reader:{HASH}")
    assert found.hosts is not None
    assert found.origin == "https://sync.example"
    assert "sync.example" in found.hosts
    assert found.https
    assert not config().https


@pytest.mark.parametrize("page", ["https://sync.example", "http://192.168.1.2:8000"])
def test_a_public_page_url_needs_tokens_even_on_loopback(page: str) -> None:
    with pytest.raises(SettingError, match="other machines can open SYNC_PAGE_URL"):
        config(SYNC_PAGE_URL=page)
    assert config(SYNC_PAGE_URL="http://localhost:8000").tokens == ()


def test_browsers_may_use_another_dagster_url() -> None:
    inside = "http://dagster:3000"
    assert config(SYNC_DAGSTER_WEBSERVER_URL=inside).dagster_public_url == inside
    found = config(
        SYNC_DAGSTER_WEBSERVER_URL=inside, SYNC_DAGSTER_PUBLIC_URL="https://dagster.example/"
    )
    assert (found.dagster_webserver_url, found.dagster_public_url) == (
        inside,
        "https://dagster.example",
    )


def test_remote_browsers_get_no_links_to_a_dagster_on_loopback() -> None:
    tokens = {"SYNC_API_TOKENS": f"ada:reader:{HASH}"}
    assert config(**tokens).dagster_public_url == "http://127.0.0.1:3000"
    for found in (
        config("192.168.1.2", **tokens),
        config(SYNC_PAGE_URL="https://sync.example", **tokens),
    ):
        assert found.dagster_public_url is None
        assert found.dagster_webserver_url == "http://127.0.0.1:3000"
        assert Links(found.dagster_public_url).run("r") is None
    elsewhere = {"SYNC_DAGSTER_PUBLIC_URL": "https://dagster.example", **tokens}
    assert config("192.168.1.2", **elsewhere).dagster_public_url == "https://dagster.example"


@pytest.mark.parametrize(
    "address", ["dagster:3000", "ftp://dagster", "http://", "http://ada:pw@dagster", "http://d:x"]
)
def test_an_invalid_url_is_rejected_and_the_error_names_its_setting(address: str) -> None:
    with pytest.raises(
        SettingError, match="SYNC_DAGSTER_WEBSERVER_URL is not a valid URL"
    ) as caught:
        config(SYNC_DAGSTER_WEBSERVER_URL=address)
    assert "pw" not in str(caught.value)
