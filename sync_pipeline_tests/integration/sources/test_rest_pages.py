"""Each style of pagination is followed to its end, and loops are detected."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing
from sync_pipeline_tests.integration.sources.rest_server import (
    Api,
    Reply,
    Request,
    keys,
    rows,
)

pytestmark = pytest.mark.integration

ALL = rows(*range(1, 8))
SIZE = 3


def page(number: int) -> list[dict[str, Any]]:
    return ALL[number * SIZE : (number + 1) * SIZE]


def is_last(number: int) -> bool:
    return (number + 1) * SIZE >= len(ALL)


def query_int(request: Request, name: str, default: int = 0) -> int:
    return int(request.query.get(name, default))


def json_link(request: Request) -> Any:
    number = query_int(request, "p")
    next_page = "" if is_last(number) else f"/orders?p={number + 1}"
    return {"data": page(number), "@next": next_page}


def header_link(request: Request) -> Reply:
    number = query_int(request, "p")
    link = f'<http://{request.headers["host"]}/orders?p={number + 1}>; rel="next"'
    return Reply({"data": page(number)}, headers={} if is_last(number) else {"Link": link})


def header_cursor(request: Request) -> Reply:
    number = query_int(request, "at")
    return Reply(
        {"data": page(number)}, headers={} if is_last(number) else {"Next": f"{number + 1}"}
    )


def cursor(request: Request) -> Any:
    number = query_int(request, "at")
    return {"data": page(number), "c": [None if is_last(number) else number + 1]}


def cursor_in_body(request: Request) -> Any:
    number = json.loads(request.body).get("page", {}).get("after", 0)
    return {"data": page(number), "after": number + 1, "more": not is_last(number)}


def offset(request: Request) -> Any:
    start = query_int(request, "from")
    return {"data": ALL[start : start + query_int(request, "n")]}


def offset_with_total(request: Request) -> Any:
    return offset(request) | {"total": len(ALL)}


def page_number(request: Request) -> Any:
    return {"data": page(query_int(request, "page") - 1)}


def page_number_with_total(request: Request) -> Any:
    return {"data": page(query_int(request, "page")), "pages": 3}


BY_OFFSET = {"type": "offset", "limit": SIZE, "offset_param": "from", "limit_param": "n"}
STYLES: list[tuple[Callable[[Request], Any], dict[str, Any], dict[str, Any], int]] = [
    (json_link, {"type": "json_link", "next_url_path": "$['@next']"}, {}, 3),
    (header_link, {"type": "header_link"}, {}, 3),
    (header_cursor, {"type": "header_cursor", "header": "Next", "param": "at"}, {}, 3),
    (cursor, {"type": "cursor", "cursor_path": "c[0]", "param": "at"}, {}, 3),
    (
        cursor_in_body,
        {
            "type": "cursor",
            "cursor_path": "after",
            "body_path": "page.after",
            "has_more_path": "more",
        },
        {"method": "POST", "body": {"day": "{day}"}},
        3,
    ),
    (offset, BY_OFFSET, {}, 4),
    (offset_with_total, BY_OFFSET, {"count": "$.total"}, 3),
    (page_number, {"type": "page_number"}, {}, 4),
    (
        page_number_with_total,
        {"type": "page_number", "first_page": 0, "total_pages_path": "pages"},
        {},
        3,
    ),
]


@pytest.mark.parametrize(("respond", "paginator", "more", "request_count"), STYLES)
def test_every_page_is_loaded_once(
    syncing: Syncing,
    api: Api,
    respond: Callable[[Request], Any],
    paginator: dict[str, Any],
    more: dict[str, Any],
    request_count: int,
) -> None:
    api.respond = respond
    source = keys(api, paginator=paginator, **more)
    for _ in range(2):
        (done,) = syncing.sync(source)
        assert done.error is None
        assert [i for (i,) in syncing.rows("SELECT id FROM landed ORDER BY id")] == list(
            range(1, 8)
        )
    assert len(api.requests) == 2 * request_count


def sync_and_fail(syncing: Syncing, source: dict[str, Any]) -> DayResult:
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.FAILED
    assert f"dataset landed: cannot read {DAY}: " in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]
    return done


@pytest.mark.parametrize(
    ("respond", "paginator"),
    [
        (lambda _: {"data": rows(1), "next": "/orders?p=2"}, "json_link"),
        (lambda _: {"data": rows(1), "c": "same"}, "cursor"),
        (lambda _: {"data": rows(1, 2)}, "page_number"),
    ],
)
def test_an_endlessly_repeated_page_is_detected(
    syncing: Syncing, api: Api, respond: Callable[[Request], Any], paginator: str
) -> None:
    api.respond = respond
    paginator_keys: dict[str, Any] = {"type": paginator}
    paginator_keys |= {"next_url_path": "next"} if paginator == "json_link" else {}
    paginator_keys |= {"cursor_path": "c", "param": "at"} if paginator == "cursor" else {}
    error = sync_and_fail(syncing, keys(api, paginator=paginator_keys)).error or ""
    assert "correct 'paginator'" in error
    assert len(api.requests) <= 3


def test_a_server_that_always_has_new_rows_is_stopped(syncing: Syncing, api: Api) -> None:
    numbers = count()
    api.respond = lambda request: {
        "data": [{**rows(1)[0], "id": next(numbers)}],
        "next": f"/orders?p={next(numbers)}",
    }
    paginator_keys = {"type": "json_link", "next_url_path": "next"}
    limited = keys(api, paginator=paginator_keys, max_pages=5)
    error = sync_and_fail(syncing, limited).error or ""
    assert "the day has more than 5 pages" in error
    assert len(api.requests) == 5


def test_a_day_may_have_max_pages(syncing: Syncing, api: Api) -> None:
    numbers = count()
    api.respond = lambda request: {
        "data": [{**rows(1)[0], "id": next(numbers)}],
        **({"next": f"/orders?p={next(numbers)}"} if len(api.requests) < 5 else {}),
    }
    paginator_keys = {"type": "json_link", "next_url_path": "next"}
    (done,) = syncing.sync(keys(api, paginator=paginator_keys, max_pages=5))
    assert done.error is None


def test_a_loop_of_empty_pages_is_detected(syncing: Syncing, api: Api) -> None:
    next_page = {"": "2", "2": "3", "3": "2"}
    api.respond = lambda request: {
        "data": [],
        "next": f"/orders?p={next_page[request.query.get('p', '')]}",
    }
    paginator_keys = {"type": "json_link", "next_url_path": "next"}
    error = sync_and_fail(syncing, keys(api, paginator=paginator_keys)).error or ""
    assert "/orders?p=2: this page was already read, so the pages form a loop" in error


def test_pages_smaller_than_the_limit_fail_instead_of_losing_rows(
    syncing: Syncing, api: Api
) -> None:
    def at_most_two(request: Request) -> Any:
        start = query_int(request, "from")
        return {"data": ALL[start : start + min(2, query_int(request, "n"))]}

    api.respond = at_most_two
    error = sync_and_fail(syncing, keys(api, paginator=BY_OFFSET)).error or ""
    assert "a page had fewer rows than 'limit' (3) but was not the last" in error


@pytest.mark.parametrize(
    ("totals", "message"),
    [
        ([8, 8, 8], "reports 8 rows for 2025-10-01, but delivered 7"),
        ([7, 6], "the source first reported 7 rows and then 6"),
        ([None, None, None], "no response contains 'count' ($.total)"),
        (["many"], "'count' ($.total) is 'many', not a number of rows"),
        ([-1], "'count' ($.total) is -1, not a number"),
        ([True], "'count' ($.total) is True, not a number"),
    ],
)
def test_a_count_that_does_not_match_fails_the_day(
    syncing: Syncing, api: Api, totals: list[Any], message: str
) -> None:
    api.respond = lambda request: json_link(request) | {"total": totals[query_int(request, "p")]}
    paginator_keys = {"type": "json_link", "next_url_path": "$['@next']"}
    (done,) = syncing.sync(keys(api, paginator=paginator_keys, count="$.total"))
    assert done.outcome is Outcome.FAILED
    assert message in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]


def test_a_count_on_the_first_page_only_is_sufficient(syncing: Syncing, api: Api) -> None:
    api.respond = lambda request: json_link(request) | ({} if request.query else {"total": "7"})
    paginator_keys = {"type": "json_link", "next_url_path": "$['@next']"}
    (done,) = syncing.sync(keys(api, paginator=paginator_keys, count="$.total"))
    assert done.outcome is Outcome.SUCCESS


def test_null_is_an_empty_list_if_the_count_is_0(syncing: Syncing, api: Api) -> None:
    api.respond = lambda _: {"data": None, "total": 0}
    (done,) = syncing.sync(keys(api, count="total"))
    assert done.outcome is Outcome.SUCCESS


@pytest.mark.parametrize("link", ["http://host:port/", "http://[host", "/\n", 5, [1]])
def test_an_invalid_link_to_the_next_page_fails_the_day(
    syncing: Syncing, api: Api, link: Any
) -> None:
    api.respond = lambda _: {"data": rows(1), "next": link}
    paginator_keys = {"type": "json_link", "next_url_path": "next"}
    error = sync_and_fail(syncing, keys(api, paginator=paginator_keys)).error or ""
    assert "correct 'paginator'" in error.replace("'path' or ", "")


def test_the_error_for_a_missing_paginator_field_shows_no_rows(syncing: Syncing, api: Api) -> None:
    api.respond = lambda _: {"data": [{"id": 1, "note": "private"}]}
    paginator_keys = {"type": "page_number", "has_more_path": "more"}
    error = sync_and_fail(syncing, keys(api, paginator=paginator_keys)).error or ""
    assert "a field that 'paginator' names is missing from a response" in error
    assert "private" not in error
