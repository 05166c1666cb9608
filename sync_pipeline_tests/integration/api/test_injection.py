"""SQL, paths and headers cannot be injected through a request; invalid bodies are rejected."""

from urllib.parse import quote

import pytest

from sync_pipeline_tests.integration.api.client import BASE, LAUNCH, LIST, PREVIEW, Client

pytestmark = pytest.mark.integration

CANCEL, RETRY = (f"{BASE}/sync-status/99999999/{what}" for what in ("cancel", "retry"))
ONE_DAY = {"dataset": "orders", "start_date": "2025-11-01", "end_date": "2025-11-01"}
HOSTILE = [
    *("'", "'; DROP TABLE daily_sync_status; --", "1 OR 1=1", "%' OR '1'='1", "$$", "\\", "%%"),
    *("%(id)s", "{0}", "\x01", "\u202e", "𝒳" * 20, "-1", "9" * 30, "1e400", "NaN"),
]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/%00",
        "/static/" + "../" * 12 + "etc/passwd",
        f"{BASE}/sync-status/../../../etc/passwd",
        f"{BASE}/sync-status/%2e%2e",
        f"{BASE}/sync-status/1%00",
        f"{BASE}//sync-status/list",
        "/" + "a" * 8000,
    ],
)
def test_no_path_leads_outside_the_served_files(alone: Client, path: str) -> None:
    response = alone.get(path)
    assert response.status in (404, 422), response
    assert b"root:" not in response.body
    assert b"import" not in response.body


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "name", ["dataset", "kind", "status", "from", "to", "q", "sort", "after", "page", "page_size"]
)
def test_query_parameters_cannot_inject_sql(alone: Client, name: str, value: str) -> None:
    response = alone.get(f"{LIST}?{name}={quote(value)}")
    assert response.status in (200, 422)
    if response.status == 200 and name in ("dataset", "q"):
        assert response.data["records"] == []


@pytest.mark.parametrize("value", HOSTILE)
def test_paths_bodies_and_headers_cannot_inject_sql(api: Client, value: str) -> None:
    refused = {404, 405, 409, 422}
    assert api.get(f"{BASE}/sync-status/{quote(value, safe='')}").status in refused
    assert api.post(f"{BASE}/sync-status/{quote(value, safe='')}/cancel").status in refused
    assert api.get(f"{BASE}/sync-status/coverage?dataset={quote(value)}").status in refused
    for name in ("from", "to"):
        found = api.get(f"{BASE}/sync-status/coverage?dataset=orders&{name}={quote(value)}")
        assert found.status == 422
    assert api.get(f"{BASE}/events?after={quote(value)}").status == 422
    last = value.encode("utf-8").decode("latin-1")
    if "\x01" not in last:
        events = api.send("GET", f"{BASE}/events", headers={"Last-Event-ID": last})
        assert events.status == 422
    for name in ONE_DAY:
        assert api.post(PREVIEW, {**ONE_DAY, name: value}).status == 422
    key = value.encode("utf-8").decode("latin-1")
    if "\x01" not in key:
        response = api.post(LAUNCH, {**ONE_DAY, "dataset": "no"}, Idempotency_Key=key)
        assert response.status == 422


@pytest.mark.parametrize("value", HOSTILE)
def test_cancel_retry_and_session_bodies_cannot_inject_sql(alone: Client, value: str) -> None:
    for path in (CANCEL, RETRY):
        assert alone.post(path, {"id": value, "dataset": value}).status == 404
    assert alone.post(f"{BASE}/session", {"token": value}).status in (200, 422)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{", b"\xff\xfe", b'"x"', b"1e999", b"[" * 2000, b'{"a":NaN}'),
        b'{"start_date": "2025-01-01", "end_date": 20250101}',
        b'{"start_date": {"$gt": ""}, "end_date": ["2025-01-01"]}',
        b'{"start_date": "2025-01-01\\u0000", "end_date": "\\ud800"}',
    ],
)
def test_malformed_bodies_are_rejected(api: Client, body: bytes) -> None:
    response = api.send("POST", LAUNCH, body, {"Content-Type": "application/json"})
    assert response.problem["status"] == 422


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_bodies_not_declared_as_json_are_rejected(api: Client, kind: str) -> None:
    response = api.send("POST", LAUNCH, b'{"start_date":"2025-01-01"}', {"Content-Type": kind})
    assert response.problem["status"] == 415


def test_large_bodies_are_rejected_before_they_are_read(alone: Client) -> None:
    large = b'{"start_date": "' + b"x" * 17_000 + b'"}'
    response = alone.send("POST", LAUNCH, large, {"Content-Type": "application/json"})
    assert response.problem["status"] == 413
    head = f"POST {LAUNCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    declared = alone.raw(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
    assert b" 413 " in declared.split(b"\r\n")[0]
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    chunked = alone.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 3)
    assert b" 413 " in chunked.split(b"\r\n")[0]
    for length in ("-1", "1x", "٣"):
        received = alone.raw(f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert b" 400 " in received or b" 413 " in received


@pytest.mark.parametrize("injected", ["a\r\nSet-Cookie: x=1", "a\nX: y", "a%0d%0aX-Evil:%201"])
def test_no_header_can_be_injected_into_a_response(api: Client, injected: str) -> None:
    path = quote(injected, safe="%")
    for response in (
        api.get(f"{LIST}?q={path}"),
        api.get(f"/{path}"),
        api.get(f"/static/{path}"),
        api.get(f"{BASE}/sync-status/{path}"),
    ):
        assert "x-evil" not in response.headers
        assert "set-cookie" not in response.headers
        assert "x" not in response.headers
