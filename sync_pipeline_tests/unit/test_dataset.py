"""The dataset model: its days, bounds and time zone, and the errors for invalid keys."""

import json
import re
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sync_pipeline.config.dataset import Dataset, Every, Percent, parse_day
from sync_pipeline.config.requests import requested_days
from sync_pipeline.config.sources import FilesSource, PostgresSource
from sync_pipeline.errors import RequestError

pytestmark = pytest.mark.unit

YAML = """
name: orders
start_date: 2025-10-01
timezone: Asia/Shanghai
source: {url_env: SYNC_SOURCE_URL, table: sales.orders, day_column: day}
target: {table: orders}
"""
FILES = {"type": "files", "path": "{day}.csv", "columns": {"id": "bigint"}}
REST = {
    "type": "rest",
    "base_url": "https://h/v1/",
    "records": "$.rows",
    "columns": {"a": "int"},
    "paginator": {"type": "cursor", "cursor_path": "$.next", "param": "after"},
    "auth": {"type": "api_key", "key_env": "KEY", "name": "X-Key"},
}
SHANGHAI = ZoneInfo("Asia/Shanghai")
# 2025-10-11 in Shanghai, 2025-10-10 in UTC: the last finished day in Shanghai is 2025-10-10.
NOW = datetime(2025, 10, 10, 16, 0, tzinfo=ZoneInfo("UTC"))


def orders(**changes: Any) -> Dataset:
    """Return the dataset in `YAML` with `changes`; `source__table` sets `table` in its source."""
    settings: dict[str, Any] = yaml.safe_load(YAML)
    for key, value in changes.items():
        *path, name = key.split("__")
        mapping = settings
        for step in path:
            mapping = mapping[step]
        mapping[name] = value
    return Dataset.model_validate(settings)


def error_of(**changes: Any) -> str:
    """Return the error for a dataset with one invalid value, prefixed with the value's key."""
    with pytest.raises(ValidationError) as caught:
        orders(**changes)
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])) + ": " + error["msg"]


def test_days_are_returned_oldest_first_including_both_ends() -> None:
    days = orders().days(date(2025, 10, 9), date(2025, 10, 10), NOW)
    assert days == [date(2025, 10, 9), date(2025, 10, 10)]
    assert orders().days(date(2025, 10, 9), date(2025, 10, 9), NOW) == [date(2025, 10, 9)]


def test_a_request_can_have_any_number_of_days() -> None:
    long = orders(start_date="1900-01-01")
    dataset, days = requested_days([long], "orders", "1900-01-01", "2020-12-31")
    assert (dataset, len(days), days[-1]) == (long, 44_195, date(2020, 12, 31))


def test_the_error_for_a_reversed_range_gives_the_right_order() -> None:
    with pytest.raises(
        RequestError,
        match=r"^dataset orders: the range 2025-10-05 to 2025-10-02 is reversed; "
        "put the earlier date first: 2025-10-02 2025-10-05$",
    ):
        orders().days(date(2025, 10, 5), date(2025, 10, 2), NOW)


def test_a_range_that_begins_before_the_first_day_is_rejected() -> None:
    with pytest.raises(
        RequestError,
        match=r"^dataset orders: 2025-09-30 is before its first day 2025-10-01; "
        "start at 2025-10-01, or set an earlier start_date in its defs.yaml$",
    ):
        orders().days(date(2025, 9, 30), date(2025, 10, 2), NOW)


def test_a_day_that_is_not_finished_in_the_datasets_zone_is_rejected() -> None:
    with pytest.raises(
        RequestError,
        match=r"^dataset orders: 2025-10-11 cannot be synced: the last finished day in "
        "Asia/Shanghai is 2025-10-10; end at 2025-10-10 or earlier$",
    ):
        orders().days(date(2025, 10, 1), date(2025, 10, 11), NOW)


def test_a_day_after_the_end_date_is_rejected() -> None:
    with pytest.raises(RequestError, match="'s end_date is 2025-10-04; end at 2025-10-04 or"):
        orders(end_date="2025-10-04").days(date(2025, 10, 1), date(2025, 10, 5), NOW)


def test_an_end_date_in_the_future_does_not_allow_unfinished_days() -> None:
    with pytest.raises(RequestError, match="the last finished day in Asia/Shanghai is 2025-10-10"):
        orders(end_date="2099-01-01").days(date(2025, 10, 1), date(2025, 10, 11), NOW)


@pytest.mark.parametrize(
    ("zone", "last"),
    [
        ("Asia/Shanghai", "2025-10-10"),
        ("UTC", "2025-10-09"),
        ("America/New_York", "2025-10-09"),
        ("Pacific/Kiritimati", "2025-10-10"),
    ],
)
def test_the_last_finished_day_is_yesterday_in_the_datasets_zone(zone: str, last: str) -> None:
    assert orders(timezone=zone).last_day(NOW) == date.fromisoformat(last)


@given(st.datetimes(datetime(2025, 1, 1), datetime(2026, 1, 1)))  # noqa: DTZ001  gets a time zone below
def test_a_day_is_finished_at_midnight_in_its_zone(local_time: datetime) -> None:
    now = local_time.replace(tzinfo=SHANGHAI)
    assert orders().last_day(now) == local_time.date() - timedelta(days=1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "Orders"}, "name: .*lower-case letters, digits and _"),
        ({"name": "o" * 64}, "name: .*at most 63 characters"),
        ({"start_date": "01.10.2025"}, "start_date: Input should be a valid date"),
        ({"end_date": "2025-09-30"}, ": .*end_date 2025-09-30 is before start_date 2025-10-01"),
        ({"timezone": "Asia/Beijing"}, "timezone: .*'Asia/Beijing' is not an IANA time zone"),
        ({"timezone": "Asia"}, "timezone: .*'Asia' is not an IANA time zone"),
        ({"timezone": "../etc"}, "timezone: .* is not an IANA time zone"),
        (
            {"source__url_env": "postgresql://a:b@c/d"},
            "source.url_env: .*a URL or a secret must not",
        ),
        ({"source__table": "a.b.c"}, "source.table: .*'a.b.c' must be 'table' or 'schema.table'"),
        ({"source__table": "a."}, "source.table: .*'a.' must be 'table' or 'schema.table'"),
        ({"target__table": "表" * 22}, "target.table: .*longer than 63 bytes"),
        ({"source__query": "SELECT 1"}, "source: .*give exactly one of 'table' and 'query'"),
        ({"source__table": None}, "source: .*give exactly one of 'table' and 'query'"),
        ({"source__columns": ["id"]}, "source: .*'columns' must contain the day_column 'day'"),
        ({"source__columns": ["day", "id", "id"]}, "source: .*'columns' contains 'id' twice"),
        ({"source__columns": []}, "source.columns: .*at least 1 item"),
        ({"source__statement_timeout_seconds": 0}, "source.statement_timeout.*greater than 0"),
        ({"source__connect_timeout_seconds": 1}, "source.connect_timeout.*greater than or equal"),
        ({"schedule": {"at": "24:00"}}, "schedule.at: .*from 00:00 to 23:59 in quotes"),
        ({"schedule": {"at": "7:30"}}, "schedule.at: .*such as '02:30'"),
        ({"schedule": {"at": 750}}, "schedule.at: .*YAML reads 12:30 as the number 750"),
        ({"schedule": {"at": "02:30", "look_back_days": -1}}, "schedule.look_back_days: "),
        ({"target__on_lock_conflict": "skip"}, "target.on_lock_conflict: .*'wait' or 'fail'"),
        (
            {"retry": {"max_attempts": 0}},
            "retry.max_attempts: Input should be greater than or equal to 1",
        ),
        (
            {"retry": {"initial_backoff_seconds": 0}},
            "retry.initial_backoff_seconds: .*greater than 0",
        ),
        (
            {"retry": {"max_atempts": 3}},
            "retry: .*unknown key 'max_atempts', did you mean 'max_attempts'",
        ),
        (
            {"retry": 3},
            "retry: .*must be a mapping; its keys are max_attempts, initial_backoff_seconds",
        ),
        ({"progress": {"percent": 120}}, "progress.percent: .*less than or equal to 100"),
        ({"progress": {"weeks": 1}}, "progress: .*must be every_day, auto, {days: 10} or {per"),
        ({"source": "SHOP_URL"}, "source: .*must be a mapping whose type is one of postgres, sql"),
        ({"source": {"type": "mysql"}}, "source: .*must be a mapping whose type is one of post"),
        ({"source__max_connections": "x"}, "source.max_connections: .*a valid integer"),
        (
            {"source": FILES | {"csv": {"delimiter": ";;"}}},
            "source.csv.delimiter: .*must be one ASCII character",
        ),
        ({"source": FILES | {"csv": None}}, "source.csv: .*must be a mapping; its keys are del"),
        (
            {"source": REST | {"paginator": {"type": "offset", "limit": 0}}},
            "source.paginator.limit: .*greater than or equal to 1",
        ),
        (
            {"source": REST | {"paginator": {"type": "offest"}}},
            "source.paginator: .*must be a mapping whose type is one of single_page, json_link",
        ),
        (
            {"tiemzone": "UTC"},
            ": .*unknown key 'tiemzone', did you mean 'timezone'.* allowed keys: ",
        ),
        ({"source__tabel": "x"}, "source: .*unknown key 'tabel', did you mean 'table'"),
        (
            {"target__zzz": 1},
            "target: .*unknown key 'zzz'; allowed keys: table, write, key, on_lock",
        ),
    ],
)
def test_an_error_names_the_invalid_key_and_the_allowed_values(
    changes: dict[str, Any], expected: str
) -> None:
    assert re.match(expected, error_of(**changes)), error_of(**changes)


@pytest.mark.parametrize("wrong", ["daily", {"days": 0}, {"percent": 101}, {"weeks": 1}, 0])
def test_an_unknown_progress_policy_is_rejected(wrong: object) -> None:
    with pytest.raises(ValidationError, match="progress"):
        orders(progress=wrong)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("auto", "auto"),
        ({"days": 5}, Every(days=5)),
        ({"percent": 10}, Percent(percent=10)),
    ],
)
def test_each_progress_policy_can_be_written_in_yaml(value: object, policy: object) -> None:
    assert orders(progress=value).progress == policy


@pytest.mark.parametrize("wrong", ["each_day", 0, -3])
def test_a_backfill_is_one_run_or_a_number_of_days_per_run(wrong: object) -> None:
    with pytest.raises(ValidationError, match="backfill"):
        orders(backfill=wrong)
    assert orders(backfill=30).backfill == 30
    assert orders().backfill == "single_run"


def test_a_query_can_be_used_instead_of_a_table() -> None:
    assert orders(source__table=None, source__query="SELECT 1").source == PostgresSource(
        url_env="SYNC_SOURCE_URL", query="SELECT 1", day_column="day"
    )


SOURCES: dict[str, dict[str, Any]] = {
    "postgres": {"type": "postgres", "url_env": "A", "query": "SELECT 1", "day_column": "day"},
    "sql": {"type": "sql", "url_env": "A", "table": "t", "day_column": "d", "types": {"d": "date"}},
    "csv": {"type": "files", "path": "{day}.tsv.gz", "columns": {"at": "timestamptz(3)"}},
    "csv in gb18030": {
        "type": "files",
        "path": "all",
        "format": "csv",
        "columns": {"sync_date": "date"},
        "csv": {"delimiter": "\t", "encoding": "GB18030", "null_values": ["", " "]},
    },
    "jsonl": {"type": "files", "path": "{day}.jsonl", "columns": {"id": "int"}},
    "parquet": {"type": "files", "path": "{day:%Y/%j}/*.parquet", "ready": {"settle_seconds": 1}},
    "s3": {"type": "files", "path": "s3://b/{day}.parquet", "s3": {"endpoint": "https://h:9/"}},
    "s3 with defaults": {"type": "files", "path": "s3://b/{day}.parquet"},
    "gs": {"type": "files", "path": "gs://b/{day}.parquet", "gcs": {"anonymous": True}},
    "gs with defaults": {"type": "files", "path": "gs://b/{day}.parquet"},
    "rest": REST,
    "python": {
        "type": "python",
        "function": "a.b:c",
        "columns": {"a": "numeric(10, 2)"},
        "options": {"shop": ["north", 1, None]},
    },
}


@pytest.mark.parametrize("source", list(SOURCES))
def test_a_dataset_with_any_source_survives_a_json_round_trip(source: str) -> None:
    read = orders(source=SOURCES[source], progress={"days": 5}, schedule={"at": "02:30"})
    assert Dataset.model_validate(json.loads(json.dumps(read.as_json()))) == read


def test_a_source_created_without_its_type_survives_a_json_round_trip() -> None:
    read = orders(source=FilesSource(path="{day}.parquet"))
    assert Dataset.model_validate(read.as_json()) == read


def test_a_dataset_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        orders().name = "other"  # type: ignore[misc]


@given(st.dates())
def test_an_iso_date_is_parsed(day: date) -> None:
    assert parse_day(day.isoformat(), "start") == day


@pytest.mark.parametrize(
    "text", ["20251001", "2025-10-1", "2025-02-30", "2025-W40-3", " 2025-10-01", "", "2025-10-01\n"]
)
def test_any_other_text_is_rejected(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_day(text, "start")
    assert (
        str(caught.value)
        == f"start: {text!r} is not a date; use YYYY-MM-DD, for example 2025-10-01"
    )


def test_the_key_is_optional_for_append_only() -> None:
    assert orders().target.write == "replace_day"
    keyed = orders(target__write="append_only", target__key=["id", "day"])
    assert keyed.target.key == ("id", "day")
    assert orders(target__write="append_only").target.key == ()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"write": "upsert"}, "write: upsert needs 'key', the columns that identify a row"),
        ({"key": ["id"]}, "write: replace_day replaces whole days and does not use 'key'"),
        ({"write": "upsert", "key": ["a", "b", "a"]}, "'key' contains column 'a' twice"),
    ],
)
def test_a_key_that_does_not_match_the_write_mode_is_rejected(
    target: dict[str, Any], expected: str
) -> None:
    assert expected in error_of(target={"table": "orders"} | target)


@pytest.mark.parametrize(
    ("source", "kind", "key"),
    [(FILES, "FilesSource", "missing_columns"), (REST, "RestSource", "absent_fields")],
)
def test_null_is_accepted_with_and_without_quotes(
    source: dict[str, Any], kind: str, key: str
) -> None:
    values = [yaml.safe_load(f"{key}: {written}") for written in ("null", "'null'")]
    plain, quoted = (orders(source=source | one).source for one in values)
    assert plain == quoted != orders(source=source).source
    # `dg check yaml` validates against this schema.
    assert None in Dataset.model_json_schema()["$defs"][kind]["properties"][key]["enum"]


@pytest.mark.parametrize("table", ["daily_sync_status", "public.sync_attempt", "sync_day_gap"])
def test_a_table_of_sync_pipeline_itself_cannot_be_a_target(table: str) -> None:
    assert error_of(target__table=table) == (
        f"target.table: Value error, {table!r} is reserved for sync-pipeline's own records; "
        "use another table"
    )
    assert orders(target__table="sales.sync_attempt").target.table == "sales.sync_attempt"
