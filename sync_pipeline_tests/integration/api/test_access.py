"""Access control: tokens, sessions, roles, other sites, host names, proxies and unsafe settings."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.api.security.rate_limit import MAX_LAUNCHES
from sync_pipeline.api.security.tokens import new_token
from sync_pipeline_tests import command
from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, LIST, PREVIEW, Client, Response
from sync_pipeline_tests.integration.api.conftest import TOKENS, entries, server_on
from sync_pipeline_tests.stack_project import Stack

pytestmark = pytest.mark.integration

READS = [
    *(LIST, f"{BASE}/sync-status/1", f"{BASE}/sync-status/coverage?dataset=orders"),
    *(f"{BASE}/datasets", f"{BASE}/events", f"{BASE}/me", "/metrics"),
]
WRITES = [LAUNCH, f"{BASE}/sync-status/1/cancel", f"{BASE}/sync-status/1/retry"]
ONE_DAY = {"dataset": "orders", "start_date": "2025-11-01", "end_date": "2025-11-01"}


def with_token(client: Client, role: str) -> Client:
    return client.with_headers(Authorization=f"Bearer {TOKENS[role]}")


@pytest.fixture
def page(guarded: Client) -> Client:
    """A client signed in as an operator with a session cookie."""
    signed_in = guarded.post(f"{BASE}/session", {"token": TOKENS["operator"]})
    cookie = signed_in.headers["set-cookie"]
    return guarded.with_headers(Cookie=cookie.split(";")[0], Origin=guarded.url)


@pytest.mark.parametrize("path", READS)
def test_reads_require_a_token(guarded: Client, path: str) -> None:
    response = guarded.get(path)
    assert response.problem["status"] == 401
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", [*WRITES, PREVIEW])
def test_writes_require_a_token(guarded: Client, path: str) -> None:
    assert guarded.post(path, ONE_DAY).problem["status"] == 401


@pytest.mark.parametrize(
    "token",
    [
        *("", "Bearer", "Bearer ", "Bearer wrong", "Basic cmVhZGVyOg==", "Bearer é"),
        f"Bearer {hashlib.sha256(TOKENS['operator'].encode()).hexdigest()}",  # a leaked hash
        f"Bearer {TOKENS['operator'][:-1]}",
        f"Bearer {TOKENS['operator'].upper()}",
    ],
)
def test_invalid_tokens_are_rejected(guarded: Client, token: str) -> None:
    headers = {"Authorization": token.encode("utf-8").decode("latin-1")}
    assert guarded.send("GET", LIST, headers=headers).problem["status"] == 401


@pytest.mark.parametrize("path", WRITES)
def test_a_reader_can_read_and_preview_but_not_write(guarded: Client, path: str) -> None:
    reader = with_token(guarded, "reader")
    assert reader.get(LIST).status == 200
    assert reader.post(PREVIEW, ONE_DAY).status == 200
    problem = reader.post(path, ONE_DAY).problem
    assert problem["status"] == 403
    assert problem["detail"].startswith("reader.person has read-only access")


def test_a_launch_records_the_operators_name(guarded: Client) -> None:
    operator = with_token(guarded, "operator")
    record = operator.post(LAUNCH, ONE_DAY).data["record"]
    assert record["triggered_by"] == "operator.person, API"
    assert operator.get(f"{BASE}/me").data["user"] == "operator.person"
    assert operator.wait_for(record["id"], "success")


def test_the_session_cookie_is_hidden_from_scripts_and_other_sites(guarded: Client) -> None:
    response = guarded.post(f"{BASE}/session", {"token": TOKENS["reader"]})
    parts = {part.strip().lower() for part in response.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    wrong = guarded.post(f"{BASE}/session", {"token": "wrong"})
    assert (wrong.problem["status"], wrong.problem["field"]) == (401, "token")
    assert "set-cookie" not in wrong.headers


def test_a_session_can_write_until_it_signs_out(page: Client) -> None:
    assert page.get(f"{BASE}/me").data == {"role": "operator", "user": "operator.person"}
    cancel = f"{BASE}/sync-status/99999999/cancel"
    assert page.post(cancel).problem["status"] == 404
    for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        problem = page.send("POST", cancel, headers=foreign).problem
        assert (problem["status"], problem["code"]) == (403, "cross_site")
        assert page.send("DELETE", f"{BASE}/session", headers=foreign).problem["status"] == 403
    assert page.send("DELETE", f"{BASE}/session").status == 204
    assert page.post(cancel).problem["status"] == 401


def test_forged_sessions_and_sessions_from_other_servers_are_rejected(
    guarded: Client, page: Client, stack: Stack, tmp_path: Path
) -> None:
    cookie = (page.headers or {})["Cookie"]
    name, value = cookie.split("=", 1)
    for forged in (f"X{value[1:]}", f"{value}0", "a.b", ".", "é"):
        headers = {"Cookie": f"{name}={forged}".encode().decode("latin-1")}
        assert guarded.send("GET", LIST, headers=headers).problem["status"] == 401
    others = {"SYNC_API_TOKENS": entries()}
    with server_on(stack.settings.database_url, tmp_path, **others) as other:
        assert other.send("GET", LIST, headers={"Cookie": cookie}).status == 401


def test_with_a_secret_a_session_survives_a_restart_but_not_the_removal_of_its_token(
    module_database: str, tmp_path: Path
) -> None:
    others = {"SYNC_API_SECRET": "s" * 32, "SYNC_API_TOKENS": entries()}
    with server_on(module_database, tmp_path, **others) as before:
        response = before.post(f"{BASE}/session", {"token": TOKENS["reader"]})
        cookie = {"Cookie": response.headers["set-cookie"].split(";")[0]}
    with server_on(module_database, tmp_path, **others) as after:
        assert after.send("GET", LIST, headers=cookie).status == 200
    replaced = {**others, "SYNC_API_TOKENS": new_token("reader.person", "reader")[1]}
    with server_on(module_database, tmp_path, **replaced) as after:
        assert after.send("GET", LIST, headers=cookie).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
    ],
)
@pytest.mark.parametrize("path", [*WRITES, f"{BASE}/session"])
def test_another_sites_page_cannot_write_even_without_tokens(
    api: Client, path: str, headers: dict[str, str]
) -> None:
    sent = {**headers, "Content-Type": "application/json"}
    problem = api.send("POST", path, b'{"token": "x"}', sent).problem
    assert problem["status"] == 403
    assert "another site's page" in problem["detail"]


def test_a_local_browser_and_a_local_script_can_write_without_tokens(api: Client) -> None:
    path = f"{BASE}/sync-status/99999999/cancel"
    browser = api.with_headers(Origin=api.url, Sec_Fetch_Site="same-origin")
    assert browser.post(path, {}).problem["status"] == 404
    assert api.post(path).problem["status"] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""]
)
def test_unknown_host_names_are_rejected(alone: Client, host: str) -> None:
    response = alone.send("GET", LIST, headers={"Host": host})
    assert response.problem["status"] == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_loopback_host_names_are_accepted(alone: Client, host: str) -> None:
    assert alone.send("GET", LIST, headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "header", ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP"]
)
def test_without_tokens_requests_through_a_proxy_are_rejected(alone: Client, header: str) -> None:
    for path in (LIST, "/", f"{BASE}/me"):
        problem = alone.send("GET", path, headers={header: "203.0.113.7"}).problem
        assert problem["status"] == 403
        assert "SYNC_API_TOKENS" in problem["detail"]


def test_without_tokens_http_1_0_is_treated_as_a_proxy(alone: Client) -> None:
    request = f"GET {LIST} HTTP/1.0\r\nHost: 127.0.0.1:8000\r\nConnection: close\r\n\r\n"
    assert b" 403 " in alone.raw(request.encode()).split(b"\r\n")[0]
    assert alone.send("GET", LIST, headers={"Host": "127.0.0.1:8000"}).status == 200


def test_with_tokens_the_page_works_behind_a_proxy_that_changes_the_host(
    module_database: str, tmp_path: Path
) -> None:
    others = {"SYNC_API_TOKENS": entries(), "SYNC_PAGE_URL": "https://sync.example"}
    with server_on(module_database, tmp_path, **others) as server:
        proxied = server.with_headers(
            Host="127.0.0.1:8000", Origin="https://sync.example", X_Forwarded_For="203.0.113.7"
        )
        signed_in = proxied.post(f"{BASE}/session", {"token": TOKENS["operator"]})
        assert "secure" in signed_in.headers["set-cookie"].lower()
        page = proxied.with_headers(Cookie=signed_in.headers["set-cookie"].split(";")[0])
        path = f"{BASE}/sync-status/99999999/cancel"
        assert page.post(path, {}).problem["status"] == 404
        for foreign in (
            "https://sync.example.evil",
            "http://sync.example",
            "https://x:y:z",
            "null",
        ):
            rejected = page.with_headers(Origin=foreign).post(path, {})
            assert rejected.problem["status"] == 403


def test_no_cors_headers_are_sent(alone: Client) -> None:
    for method in ("GET", "OPTIONS"):
        headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        response = alone.send(method, LIST, headers=headers)
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", [LIST, "/", "/healthz", "/nowhere", "/static/nowhere.js", f"{BASE}/sync-status/0"]
)
def test_every_response_has_the_security_headers(alone: Client, path: str) -> None:
    headers = alone.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "cache-control" in headers
    assert "server" not in headers


def test_launches_are_limited_for_each_caller_and_reads_are_not(guarded: Client) -> None:
    operator = with_token(guarded, "operator")
    invalid = {**ONE_DAY, "start_date": "1999-01-01"}

    def launch(_: int) -> Response:
        return operator.post(LAUNCH, invalid)

    responses = [launch(n) for n in range(MAX_LAUNCHES + 3)]
    (*_, last) = responses
    assert responses[0].status == 422
    assert last.problem["status"] == 429
    assert int(last.headers["retry-after"]) >= 1
    assert operator.get(LIST).status == 200
    assert operator.post(PREVIEW, ONE_DAY).status == 200


EVERYWHERE = "0.0.0.0"  # noqa: S104
SECRET = "hunter2-in-the-url"  # noqa: S105


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ada:{SECRET}@127.0.0.1:9/target",
        f"postgresql://ada:{SECRET}@nowhere.invalid/target",
    ],
)
def test_errors_contain_no_secrets(tmp_path: Path, url: str) -> None:
    with server_on(url, tmp_path, SYNC_API_SECRET="k" * 40, SYNC_API_TOKENS=entries()) as client:
        operator = with_token(client, "operator")
        responses = [client.get(path) for path in (*READS, "/readyz")]
        responses += [operator.get(path) for path in (LIST, f"{BASE}/datasets", "/metrics")]
        responses += [operator.post(path, ONE_DAY) for path in WRITES]
        output = b"".join(response.body for response in responses).decode()
    output += (tmp_path / "api.log").read_text()
    for secret in (SECRET, "k" * 40, *TOKENS.values(), entries().split(":")[2][:64]):
        assert secret not in output
    assert {response.status for response in responses} <= {200, 401, 503}
    assert "SYNC_DATABASE_URL" in output


@pytest.mark.parametrize(
    ("words", "others", "message"),
    [
        (
            ["--host", EVERYWHERE],
            {},
            f"other machines can reach --host {EVERYWHERE}, so SYNC_API_",
        ),
        (["--host", "::"], {}, "other machines can reach"),
        ([], {"SYNC_API_TOKENS": "ada:operator:secret-itself"}, "SYNC_API_TOKENS: entry 1 is not"),
        ([], {"SYNC_API_TOKENS": f"{entries()},{entries()}"}, "is used twice"),
        ([], {"SYNC_PAGE_URL": "https://sync.example"}, "other machines can open SYNC_PAGE_URL"),
        ([], {"SYNC_API_SECRET": "short-secret"}, "SYNC_API_SECRET is shorter than 32"),
        (
            [],
            {"SYNC_DAGSTER_WEBSERVER_URL": "file:///etc/passwd"},
            "SYNC_DAGSTER_WEBSERVER_URL is not a valid URL",
        ),
    ],
)
def test_the_server_does_not_start_with_an_unsafe_or_invalid_setting(
    module_database: str, words: list[str], others: dict[str, Any], message: str
) -> None:
    environment = {"SYNC_API_TRACKING_URL": module_database}
    ended = command.run(environment, "api", "--port", "0", *words, **others)
    assert (ended.code, ended.out) == (2, "")
    assert ended.errors.count("\n") == 1
    assert message in ended.errors
    assert "secret-itself" not in ended.errors
    assert "short-secret" not in ended.errors


def test_the_token_command_prints_a_token_that_the_server_accepts(
    module_database: str, tmp_path: Path
) -> None:
    ended = command.run({}, "token", "ada", "operator")
    assert ended.code == 0
    token, entry = (line.split(": ", 1)[1] for line in ended.out.splitlines())
    with server_on(module_database, tmp_path, SYNC_API_TOKENS=entry) as client:
        ada = client.with_headers(Authorization=f"Bearer {token}")
        assert ada.get(f"{BASE}/me").data["role"] == "operator"


@pytest.mark.parametrize("words", [("a:b", "operator"), ("ada", "king"), ("", "reader")])
def test_the_token_command_rejects_invalid_names_and_roles(words: tuple[str, str]) -> None:
    ended = command.run({}, "token", *words)
    assert (ended.code, ended.out) == (2, "")
    assert "the role must be 'reader' or 'operator'" in ended.complaint
    assert "SYNC_API_TOKENS" not in ended.errors
