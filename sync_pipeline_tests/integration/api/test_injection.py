"""Nothing that is sent becomes SQL, a path, a header or a body too large: each place is tried."""

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
def test_no_path_leads_out_of_what_is_served(alone: Client, path: str) -> None:
    answer = alone.get(path)
    assert answer.status in (404, 422), answer
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "name", ["dataset", "kind", "status", "from", "to", "q", "sort", "after", "page", "page_size"]
)
def test_nothing_in_a_query_becomes_sql(alone: Client, name: str, value: str) -> None:
    answer = alone.get(f"{LIST}?{name}={quote(value)}")
    assert answer.status in (200, 422)
    if answer.status == 200 and name in ("dataset", "q"):
        assert answer.data["records"] == []


@pytest.mark.parametrize("value", HOSTILE)
def test_nothing_in_a_path_a_body_or_a_header_becomes_sql(api: Client, value: str) -> None:
    refused = {404, 405, 409, 422}
    assert api.get(f"{BASE}/sync-status/{quote(value, safe='')}").status in refused
    assert api.post(f"{BASE}/sync-status/{quote(value, safe='')}/cancel").status in refused
    assert api.get(f"{BASE}/sync-status/coverage?dataset={quote(value)}").status in refused
    for name in ("from", "to"):
        found = api.get(f"{BASE}/sync-status/coverage?dataset=orders&{name}={quote(value)}")
        assert found.status == 422
    assert api.get(f"{BASE}/events?after={quote(value)}").status == 422
    shown = value.encode("utf-8").decode("latin-1")
    if "\x01" not in shown:
        events = api.send("GET", f"{BASE}/events", headers={"Last-Event-ID": shown})
        assert events.status == 422
    for name in ONE_DAY:
        assert api.post(PREVIEW, {**ONE_DAY, name: value}).status == 422
    key = value.encode("utf-8").decode("latin-1")
    if "\x01" not in key:
        answer = api.post(LAUNCH, {**ONE_DAY, "dataset": "no"}, Idempotency_Key=key)
        assert answer.status == 422


@pytest.mark.parametrize("value", HOSTILE)
def test_nothing_in_the_body_of_a_cancel_a_retry_or_a_session_becomes_sql(
    alone: Client, value: str
) -> None:
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
def test_a_body_that_is_no_request_is_refused(api: Client, body: bytes) -> None:
    answer = api.send("POST", LAUNCH, body, {"Content-Type": "application/json"})
    assert answer.problem["status"] == 422


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_what_is_not_declared_as_json_is_refused(api: Client, kind: str) -> None:
    answer = api.send("POST", LAUNCH, b'{"start_date":"2025-01-01"}', {"Content-Type": kind})
    assert answer.problem["status"] == 415


def test_a_body_too_large_is_refused_before_it_is_read(alone: Client) -> None:
    large = b'{"start_date": "' + b"x" * 17_000 + b'"}'
    answer = alone.send("POST", LAUNCH, large, {"Content-Type": "application/json"})
    assert answer.problem["status"] == 413
    head = f"POST {LAUNCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    promised = alone.raw(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
    assert b" 413 " in promised.split(b"\r\n")[0]
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    chunked = alone.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 3)
    assert b" 413 " in chunked.split(b"\r\n")[0]
    for length in ("-1", "1x", "٣"):
        answer_ = alone.raw(f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert b" 400 " in answer_ or b" 413 " in answer_


@pytest.mark.parametrize("injected", ["a\r\nSet-Cookie: x=1", "a\nX: y", "a%0d%0aX-Evil:%201"])
def test_no_header_can_be_put_into_an_answer(api: Client, injected: str) -> None:
    path = quote(injected, safe="%")
    for answer in (
        api.get(f"{LIST}?q={path}"),
        api.get(f"/{path}"),
        api.get(f"/static/{path}"),
        api.get(f"{BASE}/sync-status/{path}"),
    ):
        assert "x-evil" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert "x" not in answer.headers
