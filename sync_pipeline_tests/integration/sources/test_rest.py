"""The `rest` source: which requests it sends, and how the returned rows are loaded."""

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
import simplejson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing
from sync_pipeline_tests.integration.sources.rest_server import Api, Reply, keys, rows

pytestmark = pytest.mark.integration

UTC = timezone.utc


def test_rows_are_loaded_as_the_declared_types_with_the_day_added(
    syncing: Syncing, api: Api
) -> None:
    api.respond = lambda request: {"data": rows(1, 2)}
    (done,) = syncing.sync(keys(api))
    assert done.outcome is Outcome.SUCCESS
    assert syncing.types() == {"id": "bigint", "note": "text", "sync_date": "date"}
    assert syncing.rows("SELECT * FROM landed ORDER BY id") == [
        (1, "row 1", DAY),
        (2, "row 2", DAY),
    ]
    assert syncing.rows("SELECT total_records, success_count FROM daily_sync_status") == [(2, 2)]


def test_an_empty_list_is_a_success_that_clears_only_its_day(syncing: Syncing, api: Api) -> None:
    api.reply_with({"data": rows(1)}, {"data": rows(2)}, {"data": []})
    syncing.sync(keys(api), [DAY, NEXT_DAY])
    (done,) = syncing.sync(keys(api), [DAY])
    assert done.outcome is Outcome.SUCCESS
    assert syncing.rows("SELECT sync_date, id FROM landed") == [(NEXT_DAY, 2)]


def test_the_day_is_inserted_into_the_path_query_and_body(syncing: Syncing, api: Api) -> None:
    source = keys(
        api,
        method="POST",
        path="orders/{day:%Y/%m/%d}",
        params={"until": "{next_day:%d.%m.%Y}", "deep": True, "kind": ["a", "b"], "size": 5},
        body={"from": "{begin}", "range": ["{begin_epoch}", "{end_epoch_ms}"], "utc": "{end_utc}"},
        headers={"X-Version": "7"},
    )
    (done,) = syncing.sync(source, timezone="Asia/Shanghai")
    assert done.outcome is Outcome.SUCCESS
    (request,) = api.requests
    assert (request.method, request.path) == ("POST", "/orders/2025/10/01")
    assert request.query == {"until": "02.10.2025", "deep": "true", "kind": "b", "size": "5"}
    assert json.loads(request.body) == {
        "from": "2025-10-01T00:00:00+08:00",
        "range": [1759248000, 1759334400000],
        "utc": "2025-10-01T16:00:00+00:00",
    }
    assert request.headers["x-version"] == "7"


def test_a_day_of_23_hours_is_requested_as_23_hours(syncing: Syncing, api: Api) -> None:
    source = keys(api, params={"from": "{begin_epoch}", "to": "{end_epoch}"})
    syncing.sync(source, [date(2025, 3, 9)], timezone="America/New_York")
    query = api.requests[0].query
    assert int(query["to"]) - int(query["from"]) == 23 * 3600


def test_numbers_are_not_rounded(syncing: Syncing, api: Api) -> None:
    long = "1234567890123456789012345678901234567890.1000000000000000000000000001"
    api.respond = lambda request: Reply(
        f'{{"data": [{{"n": {long}, "big": {10**40}, "j": {{"a": [{long}, 1.10]}}, "t": 1.10}}]}}'
        "".encode()
    )
    columns = {"n": "numeric", "big": "numeric", "j": "jsonb", "t": "text"}
    (done,) = syncing.sync(keys(api, columns=columns))
    assert done.error is None
    assert syncing.rows("SELECT n::text, big::text, j->'a'->>0, j->'a'->>1, t FROM landed") == [
        (long, str(10**40), long, "1.10", "1.10")
    ]


def test_an_integer_longer_than_pythons_limit_is_loaded(syncing: Syncing, api: Api) -> None:
    digits = "7" * 5000
    api.respond = lambda request: Reply(
        f'{{"data": [{{"n": {digits}, "j": [{digits}]}}]}}'.encode()
    )
    (done,) = syncing.sync(keys(api, columns={"n": "numeric", "j": "jsonb"}))
    assert done.error is None
    assert syncing.rows("SELECT n::text, j->>0 FROM landed") == [(digits, digits)]


def test_null_the_empty_string_and_special_texts_stay_distinct(syncing: Syncing, api: Api) -> None:
    notes = [None, "", "\\N", "NULL", "a\tb\n", "日😀\U0010ffff", "null"]
    api.respond = lambda request: {"data": [{"id": n, "note": v} for n, v in enumerate(notes)]}
    syncing.sync(keys(api))
    assert [note for (note,) in syncing.rows("SELECT note FROM landed ORDER BY id")] == notes


def test_renamed_and_nested_fields_are_found_by_path(syncing: Syncing, api: Api) -> None:
    api.respond = lambda request: {
        "d": {"results": [{"Id": 1, "who": {"first name": "Zoë"}, "tags": ["a", "b"], "x": 0}]}
    }
    source = keys(
        api,
        records="$.d.results",
        columns={"id": "bigint", "select": "text", "tag": "text", "who": "jsonb"},
        paths={"id": "Id", "select": "$.who['first name']", "tag": "tags[1]"},
    )
    syncing.sync(source)
    assert syncing.rows('SELECT id, "select", tag, who FROM landed') == [
        (1, "Zoë", "b", {"first name": "Zoë"})
    ]


def test_the_day_column_is_checked_in_the_datasets_time_zone(syncing: Syncing, api: Api) -> None:
    at = "2025-09-30T16:00:00Z"
    api.respond = lambda request: {"data": [{"id": 1, "at": at}]}
    source = keys(api, columns={"id": "bigint", "at": "timestamptz"}, day_column="at")
    for _ in range(2):
        (done,) = syncing.sync(source, timezone="Asia/Shanghai")
        assert done.outcome is Outcome.SUCCESS
    assert syncing.rows("SELECT at FROM landed") == [(datetime(2025, 9, 30, 16, tzinfo=UTC),)]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (
            "timestamptz",
            "2025-10-02T00:00:00Z",
            "whose day_column 'at' is 2025-10-02 00:00:00+00:00",
        ),
        (
            "timestamptz",
            "2025-10-01 12:00:00",
            "must be a timestamp with time zone written as 2025-10-01 12:00:00+08:00, with an off",
        ),
        ("timestamp", "2025-10-01T12:00:00Z", "written as 2025-10-01 12:00:00, without an offset"),
        ("date", "2025-10-02", "a row for 2025-10-01 whose day_column 'at' is 2025-10-02"),
        (
            "date",
            "yesterday",
            "day_column 'at' is 'yesterday'; it must be a date written as 2025-10-01",
        ),
        ("date", None, "day_column 'at' is empty"),
    ],
)
def test_a_row_from_another_day_is_rejected(
    syncing: Syncing, api: Api, kind: str, value: str | None, message: str
) -> None:
    api.respond = lambda request: {"data": [{"at": value}]}
    (done,) = syncing.sync(keys(api, columns={"at": kind}, day_column="at"))
    assert done.outcome is Outcome.FAILED
    assert message in (done.error or "")


def test_the_day_column_can_have_any_format(syncing: Syncing, api: Api) -> None:
    api.respond = lambda request: {"data": [{"at": "01/10/2025"}, {"at": "10/01/2025"}]}
    source = keys(api, columns={"at": "date"}, day_column="at", date_format="%d/%m/%Y")
    (done,) = syncing.sync(source)
    assert "whose day_column 'at' is 2025-01-10" in (done.error or "")
    api.respond = lambda request: {"data": [{"at": "01/10/2025"}]}
    (done,) = syncing.sync(source)
    assert done.error is None
    assert syncing.rows("SELECT at FROM landed") == [(DAY,)]
    api.respond = lambda request: {"data": [{"at": 20251001}]}
    (done,) = syncing.sync(source)
    assert "2025-10-01: the day_column 'at' contains '20251001'" in (done.error or "")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.decimals(-(10**20), 10**20, places=7)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["", "a", "日", '"', "\\"]), inner, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries(
    {
        "text": st.none()
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        "number": st.none() | st.decimals(-(10**25), 10**25, places=9),
        "flag": st.none() | st.booleans(),
        "doc": JSON,
    }
)


@given(random_rows=st.lists(ROWS, max_size=12))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_random_rows_are_loaded_exactly(
    syncing: Syncing, api: Api, random_rows: list[dict[str, Any]]
) -> None:
    numbered = [row | {"n": n} for n, row in enumerate(random_rows)]
    body = simplejson.dumps({"data": numbered}, use_decimal=True).encode()
    api.respond = lambda request: Reply(body)
    columns = {"n": "int", "text": "text", "number": "numeric", "flag": "boolean", "doc": "jsonb"}
    (done,) = syncing.sync(keys(api, columns=columns))
    assert done.error is None
    found = syncing.rows("SELECT text, number, flag, doc::text FROM landed ORDER BY n")
    assert [
        {"text": t, "number": n, "flag": f, "doc": d and json.loads(d, parse_float=Decimal)}
        for t, n, f, d in found
    ] == random_rows
