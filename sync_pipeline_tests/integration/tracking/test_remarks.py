"""The remarks are exactly as specified, and consumers can parse what they need from them."""

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import Worker, record, run

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(10)
START = DAYS[0]
# In the specification's front end: record.remarks?.match(/(\d+)\/(\d+)天/)
FRONT_END = re.compile(r"(\d+)\/(\d+)天")
numbers = st.integers(0, 10**12)
# Texts that are likely to contain the batch mark or parts of it.
errors = st.lists(st.sampled_from(["批量同步", "批量", "批", "量", "同步", "同", "步", " ", "x"]))


@pytest.fixture(scope="module")
def opened(one_database: str) -> Iterator["Connection"]:
    with closing(psycopg2.connect(one_database, options="-c DateStyle=ISO")) as opened:
        opened.autocommit = True
        yield opened


def call(connection: "Connection", function: str, *values: Any) -> str:
    """Call a database function that returns a text."""
    with connection.cursor() as cursor:
        cursor.callproc(function, values)
        ((text,),) = cursor.fetchall()
    assert isinstance(text, str)
    return text


def remarks_of(worker: Worker, connection: "Connection") -> str:
    assert worker.batch is not None
    return str(record(connection, worker.batch.id)["remarks"])


def test_an_opened_batch_has_its_range(worker: Worker, connection: "Connection") -> None:
    assert remarks_of(worker, connection) == "批量同步: 2025-10-01 至 2025-10-10, 共10天"


def test_progress_has_the_number_of_days_which_the_front_end_can_parse(
    worker: Worker, connection: "Connection"
) -> None:
    worker.sync(*DAYS[:2])
    worker.skip(DAYS[2])
    text = remarks_of(worker, connection)
    assert text == "批量同步进度: 3/10天, 成功2, 失败0, 跳过1"
    match = FRONT_END.search(text)
    assert match is not None
    assert match.groups() == ("3", "10")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "耗时0分0秒"), (59, "耗时0分59秒"), (60, "耗时1分0秒"), (7261, "耗时121分1秒")],
)
def test_a_finished_batch_has_its_range_its_counts_and_its_duration(
    worker: Worker, connection: "Connection", seconds: int, text: str
) -> None:
    worker.sync(*DAYS[:8])
    start_time = f"end_time - interval '{seconds} seconds'"
    worker.skip(*DAYS[8:])
    run(
        worker.url,
        f"UPDATE daily_sync_status SET start_time = {start_time} WHERE kind = 'batch'",
    )
    worker.project()
    finished = remarks_of(worker, connection)
    expected = "批量同步完成: 2025-10-01至2025-10-10, 共10天, 成功8, 失败0, 跳过2, "
    assert finished == expected + text
    assert not FRONT_END.search(finished)


def test_a_batch_that_stopped_early_has_the_reason(
    worker: Worker, connection: "Connection"
) -> None:
    worker.sync(START)
    worker.mark_not_run("connection timeout")
    assert remarks_of(worker, connection) == "批量同步失败: connection timeout"


@settings(deadline=None)
@given(numbers, numbers, numbers)
def test_the_remarks_of_a_day_have_its_row_counts_and_never_the_batch_mark(
    opened: "Connection", read: int, loaded: int, rejected: int
) -> None:
    assert call(opened, "sync_day_remarks", START, "syncing") == "单日同步: 2025-10-01"
    text = call(opened, "sync_day_remarks", START, "success", None, read, loaded, rejected)
    assert text == f"单日同步完成: 2025-10-01, 读取{read}行, 写入{loaded}行, 拒绝{rejected}行"


@settings(deadline=None)
@given(errors)
def test_the_remarks_of_a_failed_day_do_not_contain_the_batch_mark_even_if_its_error_does(
    opened: "Connection", pieces: list[str]
) -> None:
    error = "".join(pieces)
    text = call(opened, "sync_day_remarks", START, "failed", error)
    assert "批量同步" not in text
    assert text.replace(" ", "") == f"单日同步失败:{error}".replace(" ", "")


def batch_error(
    connection: "Connection",
    failed: list[date],
    total: int,
    first_error: str,
    not_run: list[date] | None = None,
    stop_reason: str | None = None,
) -> str:
    values = (failed, total, first_error, not_run, stop_reason)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sync_batch_error(%s::date[], %s, %s, %s::date[], %s)", values)
        ((text,),) = cursor.fetchall()
    return str(text)


def test_the_error_of_a_batch_has_the_number_and_dates_of_failed_days(
    opened: "Connection",
) -> None:
    failed = [date(2025, 10, 7), date(2025, 10, 2), date(2025, 10, 3)]
    assert batch_error(opened, failed, 10, "2025-10-02: no such table") == (
        "3 of 10 days failed: 2025-10-02..2025-10-03, 2025-10-07. First: 2025-10-02: no such table"
    )


def test_the_error_of_a_batch_has_the_days_that_were_not_run_and_why(
    opened: "Connection",
) -> None:
    failed = DAYS[:4]
    assert batch_error(opened, failed, 9, "x: lost", failed[1:], "lost") == (
        "4 of 9 days failed: 2025-10-01..2025-10-04. First: x: lost. "
        "Not run: 2025-10-02..2025-10-04"
    )
    text = batch_error(opened, failed, 9, "x: disk full.", failed[3:], "lost")
    assert text.endswith(". First: x: disk full. Not run: 2025-10-04: lost")
    text = batch_error(opened, failed, 9, "x: not run: lost", failed, "lost")
    assert text.endswith(". First: x: not run: lost. None was run")


def test_the_error_of_a_batch_is_short_even_if_many_days_failed(opened: "Connection") -> None:
    failed = [START + timedelta(days=2 * n) for n in range(50)]
    text = batch_error(opened, failed, 99, "x")
    assert text.startswith("50 of 99 days failed: 2025-10-01, 2025-10-03, ")
    assert text.endswith(", 2025-11-08, and 30 more ranges. First: x")
