"""API failures: which are retried, which fail the day, and what their messages say."""

import threading
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from sync_pipeline.errors import NotReadyError, SourceError
from sync_pipeline.retry import is_transient
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing
from sync_pipeline_tests.integration.sources.rest_server import (
    TIMEOUT_SECONDS,
    Api,
    Reply,
    keys,
    rows,
)

pytestmark = pytest.mark.integration

GOOD = {"data": rows(1)}
FAST_RETRY: dict[str, Any] = {"retry": {"max_attempts": 1, "initial_backoff_seconds": 0.01}}


def sync_and_fail(syncing: Syncing, source: dict[str, Any]) -> str:
    (done,) = syncing.sync(source, **FAST_RETRY)
    assert done.outcome is Outcome.FAILED
    error = done.error or ""
    assert f"dataset landed: cannot read {DAY}: " in error
    assert "\n" not in error
    return error


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"error": "oops"}, 500),
        Reply("busy", 503, {"Retry-After": "0"}),
        Reply({}, 429),
        Reply({"data": rows(1, 2)}, cut=True),
        Reply(silent=True),
        Reply({"data": rows(1, 2)}, stuck=True),
    ],
    ids=["500", "503", "429", "cut", "silent", "stuck"],
)
def test_a_transient_error_is_retried(syncing: Syncing, api: Api, reply: Reply) -> None:
    api.reply_with(reply, GOOD)
    (done,) = syncing.sync(keys(api, timeout_seconds=1), **FAST_RETRY)
    assert done.error is None
    assert len(api.requests) == 2
    assert syncing.rows("SELECT id FROM landed") == [(1,)]


def test_only_the_failed_page_is_requested_again(syncing: Syncing, api: Api) -> None:
    api.reply_with({"data": rows(1), "next": "/two"}, Reply(b"", 502), {"data": rows(2)})
    paginator = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, paginator=paginator), **FAST_RETRY)
    assert done.error is None
    assert [request.path for request in api.requests] == ["/orders", "/two", "/two"]
    assert syncing.rows("SELECT id FROM landed ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"error": "oops"}, 500), '/orders: 500 Internal Server Error {"error": "oops"}'),
        (
            Reply({"data": rows(1)}, cut=True),
            "the connection was lost before the response was complete",
        ),
        (Reply(silent=True), "the server sent no data for timeout_seconds (0.5)"),
        (Reply({"data": rows(1)}, stuck=True), "sent no data for timeout_seconds (0.5)"),
    ],
    ids=["500", "cut", "silent", "stuck"],
)
def test_a_day_is_retried_from_its_first_page_after_all_attempts_fail(
    syncing: Syncing, api: Api, reply: Reply, message: str
) -> None:
    api.reply_with(reply)
    source = keys(api, max_attempts=2, timeout_seconds=0.5)
    (done,) = syncing.sync(source, retry={"max_attempts": 2, "initial_backoff_seconds": 0.01})
    assert message in (done.error or "")
    assert len(api.requests) == 4


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_respected(syncing: Syncing, api: Api, as_date: bool) -> None:
    """HTTP dates are in whole seconds, so "in two seconds" may be just over one second away."""
    in_two_seconds = datetime.now(timezone.utc) + timedelta(seconds=2)
    header = format_datetime(in_two_seconds, usegmt=True) if as_date else "1"
    api.reply_with(Reply({}, 429, {"Retry-After": header}), GOOD)
    began = time.monotonic()
    (done,) = syncing.sync(keys(api), **FAST_RETRY)
    assert done.error is None
    assert time.monotonic() - began >= 0.8


def test_a_retry_after_that_is_too_long_ends_the_batch(syncing: Syncing, api: Api) -> None:
    api.reply_with(Reply({}, 429, {"Retry-After": "3600"}))
    days: list[DayResult] = []
    with pytest.raises(SourceError, match=r"asks to retry after 3600 s, .*max_backoff_seconds"):
        days += syncing.sync(keys(api), [DAY, NEXT_DAY], **FAST_RETRY)
    assert len(api.requests) == 1


def test_an_unreachable_host_ends_the_batch(syncing: Syncing, api: Api) -> None:
    api.close()
    with pytest.raises(SourceError, match=r"GET http://127.0.0.1:\d+/orders: cannot connect: Conn"):
        syncing.sync(keys(api, max_attempts=1), [DAY, NEXT_DAY], **FAST_RETRY)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(b'{"data": [{"id": 1'), "the response (application/json) is not JSON"),
        (
            Reply(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
            "the response (text/html) is not JSON: <html>Sign in</html>",
        ),
        (Reply(b""), "is not JSON"),
        (
            Reply(b'{"data": [{"id": 1, "id": 2}]}'),
            "the response is ambiguous: an object has the key 'id' more than once",
        ),
        (Reply(b"[" * 100_000), "is not JSON"),
        (Reply(b'{"data": [{"id": 1e99999999999999999999, "note": ""}]}'), "is not JSON"),
        (Reply(b'{"data": "\xff"}'), "is not JSON"),
        (
            Reply({"items": []}),
            "'records' ($.data) selects nothing instead of a list; the response",
        ),
        (Reply({"data": {"a": 1}}), "selects an object instead of a list"),
        (Reply({"data": None}), "selects null instead of a list"),
        (Reply([1]), "selects nothing instead of a list; the response is a list"),
        (
            Reply({"data": [1]}),
            "'records' ($.data) contains a number; each record must be an object",
        ),
        (
            Reply({"data": [{"id": 1}]}),
            "a row has no field for column 'note'; the row is an object with",
        ),
        (Reply(b'{"data": [{"id": 1, "note": "\\ud83d"}]}'), "contains a lone surrogate"),
        (Reply({"error": "no such day"}, 400), '400 Bad Request {"error": "no such day"}; check'),
        (Reply({}, 401), "401 Unauthorized {}; check 'auth'"),
        (Reply(b"", 304), "304 Not Modified"),
    ],
)
def test_an_invalid_response_is_reported_without_a_retry(
    syncing: Syncing, api: Api, reply: Reply, message: str
) -> None:
    api.reply_with(reply)
    assert message in sync_and_fail(syncing, keys(api))
    assert len(api.requests) == 1


def test_a_value_that_is_invalid_for_its_type_fails_the_day(syncing: Syncing, api: Api) -> None:
    api.reply_with({"data": [{"id": "seven", "note": "x"}]})
    (done,) = syncing.sync(keys(api))
    assert 'invalid input syntax for type bigint: "seven"' in (done.error or "")


def test_an_absent_field_can_be_null(syncing: Syncing, api: Api) -> None:
    api.reply_with({"data": [{"id": 1}]})
    syncing.sync(keys(api, absent_fields="null"))
    assert syncing.rows("SELECT id, note FROM landed") == [(1, None)]


def test_a_response_that_is_too_large_is_rejected(syncing: Syncing, api: Api) -> None:
    api.reply_with({"data": [{"id": 1, "note": "x" * 1_100_000}]})
    error = sync_and_fail(syncing, keys(api, max_page_megabytes=1))
    assert "the response is larger than max_page_megabytes (1)" in error


@pytest.mark.parametrize(
    ("reply", "more", "message"),
    [
        (Reply({}, 404), {"not_ready_statuses": [404, 425]}, "404 Not Found: the source does not"),
        (Reply(b"", 202), {"not_ready_statuses": [202]}, "202 Accepted: the source does not have"),
        (
            Reply({"data": [], "state": "building"}),
            {"ready": {"$.state": "done"}},
            "does not have the day yet: $.state is 'building', but 'ready' requires 'done'",
        ),
        (
            Reply({"data": [], "ok": 1}),
            {"ready": {"ok": True}},
            "ok is 1, but 'ready' requires True",
        ),
        (Reply({"data": []}), {"ready": {"ok": True}}, "ok is missing, but 'ready' requires True"),
    ],
)
def test_a_day_that_is_not_ready_is_not_an_empty_day(
    syncing: Syncing, api: Api, reply: Reply, more: dict[str, Any], message: str
) -> None:
    api.reply_with(GOOD | {"state": "done", "ok": True})
    syncing.sync(keys(api, **more))
    api.reply_with(reply)
    assert message in sync_and_fail(syncing, keys(api, **more))
    assert syncing.rows("SELECT id FROM landed") == [(1,)]


def test_not_ready_is_not_a_transient_error(syncing: Syncing, api: Api) -> None:
    api.reply_with(Reply({}, 404))
    source = open_source(syncing.dataset(keys(api, not_ready_statuses=[404])), Settings({}))
    with closing(source), open("/dev/null", "wb") as out, pytest.raises(NotReadyError) as caught:
        source.read_day(DAY, out, CopyFormat.TEXT)
    assert not is_transient(caught.value)


def test_requests_are_rate_limited(syncing: Syncing, api: Api) -> None:
    api.respond = lambda request: {
        "data": rows(int(request.query["page"]))[: int(request.query["page"]) < 4]
    }
    began = time.monotonic()
    syncing.sync(keys(api, paginator={"type": "page_number"}, requests_per_second=20))
    assert len(api.requests) == 4
    assert time.monotonic() - began >= 3 / 20


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(GOOD, stuck=True)], ids=["no", "half"])
def test_a_hanging_read_ends_when_cancelled_and_the_next_one_succeeds(
    syncing: Syncing, api: Api, reply: Reply
) -> None:
    api.reply_with(reply, GOOD)
    source = open_source(syncing.dataset(keys(api, timeout_seconds=600)), Settings({}))
    raised: list[BaseException] = []

    def read() -> None:
        with open("/dev/null", "wb") as out:
            try:
                source.read_day(DAY, out, CopyFormat.TEXT)
            except SourceError as error:
                raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert api.reached.wait(TIMEOUT_SECONDS)
    began = time.monotonic()
    source.cancel()
    thread.join(TIMEOUT_SECONDS)
    assert time.monotonic() - began < 5
    assert [str(error) for error in raised] == [
        f"dataset landed: cannot read {DAY}: the read was cancelled"
    ]
    assert api.disconnected.wait(TIMEOUT_SECONDS)
    with closing(source), open("/dev/null", "wb") as out:
        assert source.read_day(NEXT_DAY, out, CopyFormat.TEXT) == 1


def test_a_backoff_ends_when_cancelled(syncing: Syncing, api: Api) -> None:
    requested = threading.Event()

    def busy(_: Any) -> Reply:
        requested.set()
        return Reply({}, 429, {"Retry-After": "50"})

    api.respond = busy
    source = open_source(syncing.dataset(keys(api)), Settings({}))
    raised: list[BaseException] = []

    def read() -> None:
        with open("/dev/null", "wb") as out:
            try:
                source.read_day(DAY, out, CopyFormat.TEXT)
            except SourceError as error:
                raised.append(error)

    with closing(source):
        thread = threading.Thread(target=read)
        thread.start()
        assert requested.wait(TIMEOUT_SECONDS)
        while thread.is_alive():  # cancel repeatedly until the read ends, as the target does
            source.cancel()
            thread.join(0.05)
    assert len(raised) == 1
