"""An API that misbehaves: what is tried again, what is refused, and what is said."""

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
QUICK: dict[str, Any] = {"retry": {"max_attempts": 1, "initial_backoff_seconds": 0.01}}


def failed(syncing: Syncing, source: dict[str, Any]) -> str:
    (done,) = syncing.sync(source, **QUICK)
    assert done.outcome is Outcome.FAILED
    error = done.error or ""
    assert f"dataset landed: cannot read {DAY}: " in error
    assert "\n" not in error
    return error


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"error": "oops"}, 500),
        Reply("gone", 503, {"Retry-After": "0"}),
        Reply({}, 429),
        Reply({"data": rows(1, 2)}, cut=True),
        Reply(silent=True),
        Reply({"data": rows(1, 2)}, stuck=True),
    ],
    ids=["500", "503", "429", "cut", "silent", "stuck"],
)
def test_what_is_transient_is_asked_for_again(syncing: Syncing, api: Api, reply: Reply) -> None:
    api.replies(reply, GOOD)
    (done,) = syncing.sync(keys(api, timeout_seconds=1), **QUICK)
    assert done.error is None
    assert len(api.asked) == 2
    assert syncing.rows("SELECT id FROM landed") == [(1,)]


def test_a_page_that_failed_is_asked_for_again_without_those_before(
    syncing: Syncing, api: Api
) -> None:
    api.replies({"data": rows(1), "next": "/two"}, Reply(b"", 502), {"data": rows(2)})
    how = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, paginator=how), **QUICK)
    assert done.error is None
    assert [asked.path for asked in api.asked] == ["/orders", "/two", "/two"]
    assert syncing.rows("SELECT id FROM landed ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply({"error": "oops"}, 500), '/orders: 500 Internal Server Error {"error": "oops"}'),
        (Reply({"data": rows(1)}, cut=True), "the connection broke off before the answer was"),
        (Reply(silent=True), "the server was silent for timeout_seconds (0.5)"),
        (Reply({"data": rows(1)}, stuck=True), "silent for timeout_seconds (0.5)"),
    ],
    ids=["500", "cut", "silent", "stuck"],
)
def test_after_all_tries_the_day_is_tried_again_from_its_first_page(
    syncing: Syncing, api: Api, reply: Reply, said: str
) -> None:
    api.replies(reply)
    source = keys(api, max_attempts=2, timeout_seconds=0.5)
    (done,) = syncing.sync(source, retry={"max_attempts": 2, "initial_backoff_seconds": 0.01})
    assert said in (done.error or "")
    assert len(api.asked) == 4


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_waited_for(syncing: Syncing, api: Api, as_date: bool) -> None:
    """A date has whole seconds: two from now may be little more than one."""
    in_two_seconds = datetime.now(timezone.utc) + timedelta(seconds=2)
    header = format_datetime(in_two_seconds, usegmt=True) if as_date else "1"
    api.replies(Reply({}, 429, {"Retry-After": header}), GOOD)
    began = time.monotonic()
    (done,) = syncing.sync(keys(api), **QUICK)
    assert done.error is None
    assert time.monotonic() - began >= 0.8


def test_a_retry_after_that_is_too_long_ends_the_batch_at_once(syncing: Syncing, api: Api) -> None:
    api.replies(Reply({}, 429, {"Retry-After": "3600"}))
    days: list[DayResult] = []
    with pytest.raises(SourceError, match=r"asks to come back in 3600 s, .*max_backoff_seconds"):
        days += syncing.sync(keys(api), [DAY, NEXT_DAY], **QUICK)
    assert len(api.asked) == 1


def test_a_host_that_is_not_there_ends_the_batch_early(syncing: Syncing, api: Api) -> None:
    api.close()
    with pytest.raises(SourceError, match=r"GET http://127.0.0.1:\d+/orders: cannot connect: Conn"):
        syncing.sync(keys(api, max_attempts=1), [DAY, NEXT_DAY], **QUICK)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(b'{"data": [{"id": 1'), "application/json, which is no JSON"),
        (
            Reply(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
            "answered with text/html, which is no JSON: <html>Sign in</html>",
        ),
        (Reply(b""), "which is no JSON"),
        (Reply(b"[" * 100_000), "which is no JSON"),
        (Reply(b'{"data": [{"id": 1e99999999999999999999, "note": ""}]}'), "is no JSON"),
        (Reply(b'{"data": "\xff"}'), "which is no JSON"),
        (Reply({"items": []}), "'records' ($.data) leads to nothing, not to a list; the answer"),
        (Reply({"data": {"a": 1}}), "leads to an object, not to a list"),
        (Reply({"data": None}), "leads to null, not to a list"),
        (Reply([1]), "leads to nothing, not to a list; the answer is a list"),
        (Reply({"data": [1]}), "'records' ($.data) holds a number; each must be an object"),
        (
            Reply({"data": [{"id": 1}]}),
            "a row has no field for column 'note'; it is an object with",
        ),
        (Reply(b'{"data": [{"id": 1, "note": "\\ud83d"}]}'), "half a character"),
        (Reply({"error": "no such day"}, 400), '400 Bad Request {"error": "no such day"}; check'),
        (Reply({}, 401), "401 Unauthorized {}; check 'auth'"),
        (Reply(b"", 304), "304 Not Modified"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_at_once_and_nothing_changed(
    syncing: Syncing, api: Api, reply: Reply, said: str
) -> None:
    api.replies(reply)
    assert said in failed(syncing, keys(api))
    assert len(api.asked) == 1


def test_a_value_that_is_not_of_its_type_fails_the_day(syncing: Syncing, api: Api) -> None:
    api.replies({"data": [{"id": "seven", "note": "x"}]})
    (done,) = syncing.sync(keys(api))
    assert 'invalid input syntax for type bigint: "seven"' in (done.error or "")


def test_a_field_that_is_absent_is_null_where_that_is_wanted(syncing: Syncing, api: Api) -> None:
    api.replies({"data": [{"id": 1}]})
    syncing.sync(keys(api, absent_fields="null"))
    assert syncing.rows("SELECT id, note FROM landed") == [(1, None)]


def test_an_answer_that_is_too_large_is_refused(syncing: Syncing, api: Api) -> None:
    api.replies({"data": [{"id": 1, "note": "x" * 1_100_000}]})
    error = failed(syncing, keys(api, max_page_megabytes=1))
    assert "the answer is larger than max_page_megabytes (1)" in error


@pytest.mark.parametrize(
    ("reply", "more", "said"),
    [
        (Reply({}, 404), {"not_ready_statuses": [404, 425]}, "404 Not Found: the source does not"),
        (Reply(b"", 202), {"not_ready_statuses": [202]}, "202 Accepted: the source does not have"),
        (
            Reply({"data": [], "state": "building"}),
            {"ready": {"$.state": "done"}},
            "does not have the day yet: $.state is 'building', not 'done' as 'ready' says",
        ),
        (Reply({"data": [], "ok": 1}), {"ready": {"ok": True}}, "ok is 1, not True"),
        (Reply({"data": []}), {"ready": {"ok": True}}, "ok is missing, not True"),
    ],
)
def test_a_day_that_is_not_there_yet_is_no_empty_day(
    syncing: Syncing, api: Api, reply: Reply, more: dict[str, Any], said: str
) -> None:
    api.replies(GOOD | {"state": "done", "ok": True})
    syncing.sync(keys(api, **more))
    api.replies(reply)
    assert said in failed(syncing, keys(api, **more))
    assert syncing.rows("SELECT id FROM landed") == [(1,)]


def test_not_ready_is_an_error_of_its_own_that_no_quick_try_mends(
    syncing: Syncing, api: Api
) -> None:
    api.replies(Reply({}, 404))
    source = open_source(syncing.dataset(keys(api, not_ready_statuses=[404])), Settings({}))
    with closing(source), open("/dev/null", "wb") as out, pytest.raises(NotReadyError) as caught:
        source.read_day(DAY, out, CopyFormat.TEXT)
    assert not is_transient(caught.value)


def test_requests_keep_their_distance(syncing: Syncing, api: Api) -> None:
    api.answer = lambda asked: {
        "data": rows(int(asked.query["page"]))[: int(asked.query["page"]) < 4]
    }
    began = time.monotonic()
    syncing.sync(keys(api, paginator={"type": "page_number"}, requests_per_second=20))
    assert len(api.asked) == 4
    assert time.monotonic() - began >= 3 / 20


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(GOOD, stuck=True)], ids=["no", "half"])
def test_a_read_that_hangs_ends_soon_when_cancelled_and_the_next_works(
    syncing: Syncing, api: Api, reply: Reply
) -> None:
    api.replies(reply, GOOD)
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
        f"dataset landed: cannot read {DAY}: it was broken off"
    ]
    with closing(source), open("/dev/null", "wb") as out:
        assert source.read_day(NEXT_DAY, out, CopyFormat.TEXT) == 1


def test_a_pause_ends_soon_when_cancelled(syncing: Syncing, api: Api) -> None:
    asked = threading.Event()

    def busy(_: Any) -> Reply:
        asked.set()
        return Reply({}, 429, {"Retry-After": "50"})

    api.answer = busy
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
        assert asked.wait(TIMEOUT_SECONDS)
        while thread.is_alive():  # as the target does it: again, until the read has ended
            source.cancel()
            thread.join(0.05)
    assert len(raised) == 1
