"""Each style of paging is followed to its end, and never in a circle."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing
from sync_pipeline_tests.integration.sources.rest_server import (
    Api,
    BackgroundCache,
    Reply,
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


def of(asked: BackgroundCache, name: str, default: int = 0) -> int:
    return int(asked.query.get(name, default))


def json_link(asked: BackgroundCache) -> Any:
    number = of(asked, "p")
    following = "" if is_last(number) else f"/orders?p={number + 1}"
    return {"data": page(number), "@next": following}


def header_link(asked: BackgroundCache) -> Reply:
    number = of(asked, "p")
    link = f'<http://{asked.headers["host"]}/orders?p={number + 1}>; rel="next"'
    return Reply({"data": page(number)}, headers={} if is_last(number) else {"Link": link})


def header_cursor(asked: BackgroundCache) -> Reply:
    number = of(asked, "at")
    return Reply(
        {"data": page(number)}, headers={} if is_last(number) else {"Next": f"{number + 1}"}
    )


def cursor(asked: BackgroundCache) -> Any:
    number = of(asked, "at")
    return {"data": page(number), "c": [None if is_last(number) else number + 1]}


def cursor_in_body(asked: BackgroundCache) -> Any:
    number = json.loads(asked.body).get("page", {}).get("after", 0)
    return {"data": page(number), "after": number + 1, "more": not is_last(number)}


def offset(asked: BackgroundCache) -> Any:
    start = of(asked, "from")
    return {"data": ALL[start : start + of(asked, "n")]}


def offset_with_total(asked: BackgroundCache) -> Any:
    return offset(asked) | {"total": len(ALL)}


def page_number(asked: BackgroundCache) -> Any:
    return {"data": page(of(asked, "page") - 1)}


def page_number_with_total(asked: BackgroundCache) -> Any:
    return {"data": page(of(asked, "page")), "pages": 3}


BY_OFFSET = {"type": "offset", "limit": SIZE, "offset_param": "from", "limit_param": "n"}
STYLES: list[tuple[Callable[[BackgroundCache], Any], dict[str, Any], dict[str, Any], int]] = [
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


@pytest.mark.parametrize(("answer", "paginator", "more", "requests"), STYLES)
def test_every_page_arrives_once(
    syncing: Syncing,
    api: Api,
    answer: Callable[[BackgroundCache], Any],
    paginator: dict[str, Any],
    more: dict[str, Any],
    requests: int,
) -> None:
    api.answer = answer
    source = keys(api, paginator=paginator, **more)
    for _ in range(2):
        (done,) = syncing.sync(source)
        assert done.error is None
        assert [i for (i,) in syncing.rows("SELECT id FROM landed ORDER BY id")] == list(
            range(1, 8)
        )
    assert len(api.asked) == 2 * requests


def fails(syncing: Syncing, source: dict[str, Any]) -> DayResult:
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.FAILED
    assert f"dataset landed: cannot read {DAY}: " in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]
    return done


@pytest.mark.parametrize(
    ("answer", "paginator"),
    [
        (lambda _: {"data": rows(1), "next": "/orders?p=2"}, "json_link"),
        (lambda _: {"data": rows(1), "c": "same"}, "cursor"),
        (lambda _: {"data": rows(1, 2)}, "page_number"),
    ],
)
def test_a_page_that_repeats_for_ever_is_noticed(
    syncing: Syncing, api: Api, answer: Callable[[BackgroundCache], Any], paginator: str
) -> None:
    api.answer = answer
    how: dict[str, Any] = {"type": paginator}
    how |= {"next_url_path": "next"} if paginator == "json_link" else {}
    how |= {"cursor_path": "c", "param": "at"} if paginator == "cursor" else {}
    error = fails(syncing, keys(api, paginator=how)).error or ""
    assert "correct 'paginator'" in error
    assert len(api.asked) <= 3


def test_a_circle_of_empty_pages_is_noticed(syncing: Syncing, api: Api) -> None:
    following = {"": "2", "2": "3", "3": "2"}
    api.answer = lambda asked: {
        "data": [],
        "next": f"/orders?p={following[asked.query.get('p', '')]}",
    }
    how = {"type": "json_link", "next_url_path": "next"}
    error = fails(syncing, keys(api, paginator=how)).error or ""
    assert "/orders?p=2: this page was read before: the paginator leads in a circle" in error


def test_pages_smaller_than_the_limit_lose_no_rows_unseen(syncing: Syncing, api: Api) -> None:
    def at_most_two(asked: BackgroundCache) -> Any:
        start = of(asked, "from")
        return {"data": ALL[start : start + min(2, of(asked, "n"))]}

    api.answer = at_most_two
    error = fails(syncing, keys(api, paginator=BY_OFFSET)).error or ""
    assert "a page had fewer rows than 'limit' (3), and yet another followed" in error


@pytest.mark.parametrize(
    ("totals", "said"),
    [
        ([8, 8, 8], "says that 2025-10-01 has 8 rows, but gave 7"),
        ([7, 6], "said that there are 7 rows, and then that there are 6"),
        ([None, None, None], "no answer has 'count' ($.total)"),
        (["many"], "'count' ($.total) is 'many', not a number of rows"),
        ([-1], "'count' ($.total) is -1, not a number"),
        ([True], "'count' ($.total) is True, not a number"),
    ],
)
def test_a_total_that_does_not_match_is_never_a_success(
    syncing: Syncing, api: Api, totals: list[Any], said: str
) -> None:
    api.answer = lambda asked: json_link(asked) | {"total": totals[of(asked, "p")]}
    how = {"type": "json_link", "next_url_path": "$['@next']"}
    (done,) = syncing.sync(keys(api, paginator=how, count="$.total"))
    assert done.outcome is Outcome.FAILED
    assert said in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]


def test_a_total_on_the_first_page_only_is_enough(syncing: Syncing, api: Api) -> None:
    api.answer = lambda asked: json_link(asked) | ({} if asked.query else {"total": "7"})
    how = {"type": "json_link", "next_url_path": "$['@next']"}
    (done,) = syncing.sync(keys(api, paginator=how, count="$.total"))
    assert done.outcome is Outcome.SUCCESS


def test_a_total_of_0_makes_an_empty_list_of_null(syncing: Syncing, api: Api) -> None:
    api.answer = lambda _: {"data": None, "total": 0}
    (done,) = syncing.sync(keys(api, count="total"))
    assert done.outcome is Outcome.SUCCESS


def test_an_answer_without_what_the_paginator_needs_shows_none_of_its_rows(
    syncing: Syncing, api: Api
) -> None:
    api.answer = lambda _: {"data": [{"id": 1, "note": "private"}]}
    how = {"type": "page_number", "has_more_path": "more"}
    error = fails(syncing, keys(api, paginator=how)).error or ""
    assert "an answer lacks what 'paginator' names" in error
    assert "private" not in error
