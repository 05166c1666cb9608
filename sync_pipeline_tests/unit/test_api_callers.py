"""Tokens, sessions and turns of the API's callers, and the names a server goes by."""

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


def config(host: str = "127.0.0.1", **given: str) -> Config:
    return Config.of(Settings({"SYNC_DATABASE_URL": "postgresql://db/x", **given}), host)


def test_tokens_are_read_with_blanks_and_in_either_case() -> None:
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
def test_an_entry_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingError, match=r"SYNC_API_TOKENS: entry 2 is not") as caught:
        parse_tokens(f"bob:reader:{HASH},{text}")
    assert HASH[:8] not in str(caught.value)


def test_a_session_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    token, entry = new_token("ada", "reader")
    authority = Authority(parse_tokens(entry), b"k" * 32)
    caller = authority.by_token(token)
    assert caller == Caller("ada", "reader", "token")
    assert caller is not None
    cookie = authority.begin_session(caller)
    assert authority.by_session(cookie) == Caller("ada", "reader", "session", cookie)
    later = time.time() + SESSION_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert authority.by_session(cookie) is None


def test_each_session_has_a_proof_of_its_own() -> None:
    token, entry = new_token("ada", "operator")
    authority = Authority(parse_tokens(entry), b"k" * 32)
    caller = authority.by_token(token)
    assert caller is not None
    sessions = [authority.by_session(authority.begin_session(caller)) for _ in range(2)]
    one, other = (session for session in sessions if session is not None)
    assert authority.is_csrf_token(one, authority.csrf_token(one))
    assert not authority.is_csrf_token(one, authority.csrf_token(other))


def test_turns_come_back_with_time_and_are_each_callers_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    turns = RateLimit()
    assert [turns.acquire("ada") for _ in range(MAX_LAUNCHES)] == [0.0] * MAX_LAUNCHES
    assert 1 < turns.acquire("ada") <= 2
    assert turns.acquire("bob") == 0
    now += 2
    assert turns.acquire("ada") == 0
    assert turns.acquire("ada") > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_this_machines_own_addresses_need_no_token(host: str) -> None:
    assert is_loopback(host)
    assert config(host).hosts is not None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "db.example", ""])  # noqa: S104
def test_every_other_address_needs_tokens(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingError, match="SYNC_API_TOKENS must be set"):
        config(host)
    assert config(host, SYNC_API_TOKENS=f"ada:reader:{HASH}").hosts is None


def test_the_pages_address_is_a_name_it_goes_by_and_makes_the_cookie_secure() -> None:
    found = config(SYNC_PAGE_URL="https://Sync.example:443/", SYNC_API_TOKENS=f"ada:reader:{HASH}")
    assert found.hosts is not None
    assert found.origin == "https://sync.example"
    assert "sync.example" in found.hosts
    assert found.https
    assert not config().https


@pytest.mark.parametrize("page", ["https://sync.example", "http://192.168.1.2:8000"])
def test_an_address_that_others_open_needs_tokens_though_it_listens_here_only(page: str) -> None:
    with pytest.raises(SettingError, match="SYNC_PAGE_URL is an address that others open"):
        config(SYNC_PAGE_URL=page)
    assert config(SYNC_PAGE_URL="http://localhost:8000").tokens == ()


def test_a_browser_may_reach_dagster_by_another_address() -> None:
    inside = "http://dagster:3000"
    assert config(SYNC_DAGSTER_WEBSERVER_URL=inside).dagster_public_url == inside
    found = config(
        SYNC_DAGSTER_WEBSERVER_URL=inside, SYNC_DAGSTER_PUBLIC_URL="https://dagster.example/"
    )
    assert (found.dagster_webserver_url, found.dagster_public_url) == (
        inside,
        "https://dagster.example",
    )


def test_browsers_elsewhere_get_no_link_to_a_dagster_that_only_this_machine_reaches() -> None:
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
def test_an_address_that_is_none_is_refused_by_its_setting(address: str) -> None:
    with pytest.raises(SettingError, match="SYNC_DAGSTER_WEBSERVER_URL is no address") as caught:
        config(SYNC_DAGSTER_WEBSERVER_URL=address)
    assert "pw" not in str(caught.value)
