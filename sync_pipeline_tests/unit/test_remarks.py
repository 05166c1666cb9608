"""The remarks are exactly as specified, and consumers can parse what they need from them."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.tracking.models import Counts, DayCounts
from sync_pipeline.tracking.state import remarks

pytestmark = pytest.mark.unit

START, END = date(2025, 10, 1), date(2025, 10, 10)
# In the specification's front end: record.remarks?.match(/(\d+)\/(\d+)天/)
FRONT_END = re.compile(r"(\d+)\/(\d+)天")
numbers = st.integers(0, 10**12)
# Texts that are likely to contain the batch mark or parts of it.
errors = st.lists(st.sampled_from(["批量同步", "批量", "批", "量", "同步", "同", "步", " ", "x"]))


def test_an_opened_batch_has_its_range() -> None:
    assert remarks.batch_opened(START, END, 10) == "批量同步: 2025-10-01 至 2025-10-10, 共10天"


def test_progress_has_the_number_of_days() -> None:
    counts = Counts(total=10, success=2, failed=0, skipped=1)
    assert remarks.batch_progress(counts) == "批量同步进度: 3/10天, 成功2, 失败0, 跳过1"


def test_a_finished_batch_has_its_range_its_counts_and_its_duration() -> None:
    counts = Counts(total=10, success=8, failed=0, skipped=2)
    assert remarks.batch_finished(START, END, counts, 930) == (
        "批量同步完成: 2025-10-01至2025-10-10, 共10天, 成功8, 失败0, 跳过2, 耗时15分30秒"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "耗时0分0秒"), (59, "耗时0分59秒"), (60, "耗时1分0秒"), (7261, "耗时121分1秒")],
)
def test_the_duration_is_in_whole_minutes_and_seconds(seconds: int, text: str) -> None:
    counts = Counts(total=1, success=1, failed=0, skipped=0)
    assert remarks.batch_finished(START, START, counts, seconds).endswith(text)


def test_a_failed_batch_has_its_error() -> None:
    assert remarks.batch_failed("connection timeout") == "批量同步失败: connection timeout"


@given(numbers, numbers, numbers, numbers)
def test_the_front_end_can_parse_the_progress(
    success: int, failed: int, skipped: int, left: int
) -> None:
    total = success + failed + skipped + left
    text = remarks.batch_progress(Counts(total, success, failed, skipped))
    match = FRONT_END.search(text)
    assert match is not None
    assert tuple(map(int, match.groups())) == (success + failed + skipped, total)


def test_the_front_end_recognizes_a_batch_in_every_form_and_progress_in_one_form_only() -> None:
    counts = Counts(10, 2, 0, 1)
    forms = [
        remarks.batch_opened(START, END, 10),
        remarks.batch_finished(START, END, counts, 1),
        remarks.batch_failed("x"),
    ]
    assert all("批量同步" in form and not FRONT_END.search(form) for form in forms)


@given(numbers, numbers, numbers)
def test_the_remarks_of_a_day_never_contain_the_batch_mark(
    read: int, loaded: int, bad: int
) -> None:
    texts = remarks.day_started(START), remarks.day_finished(START, DayCounts(read, loaded, bad, 9))
    assert not any("批量同步" in text for text in texts)


@given(errors)
def test_the_remarks_of_a_failed_day_do_not_contain_the_batch_mark_even_if_its_error_does(
    pieces: list[str],
) -> None:
    error = "".join(pieces)
    text = remarks.day_failed(error)
    assert "批量同步" not in text
    assert text.replace(" ", "") == f"单日同步失败:{error}".replace(" ", "")


def test_the_remarks_of_a_day_have_its_row_counts() -> None:
    assert remarks.day_started(START) == "单日同步: 2025-10-01"
    assert remarks.day_finished(START, DayCounts(12, 10, 2, 999)) == (
        "单日同步完成: 2025-10-01, 读取12行, 写入10行, 拒绝2行"
    )


def test_the_error_of_a_batch_has_the_number_and_dates_of_failed_days() -> None:
    days = [date(2025, 10, 7), date(2025, 10, 2), date(2025, 10, 3)]
    assert remarks.failed_days(days, 10, "2025-10-02: no such table") == (
        "3 of 10 days failed: 2025-10-02..2025-10-03, 2025-10-07. First: 2025-10-02: no such table"
    )


def test_the_error_of_a_batch_has_the_days_that_were_not_run_and_why() -> None:
    days = [START + timedelta(days=n) for n in range(4)]
    assert remarks.failed_days(days, 9, "x: lost", not_run=days[1:], stop_reason="lost") == (
        "4 of 9 days failed: 2025-10-01..2025-10-04. First: x: lost. "
        "Not run: 2025-10-02..2025-10-04"
    )
    text = remarks.failed_days(days, 9, "x: disk full", not_run=days[3:], stop_reason="lost")
    assert text.endswith(". First: x: disk full. Not run: 2025-10-04: lost")
    text = remarks.failed_days(days, 9, "x: not run: lost", not_run=days, stop_reason="lost")
    assert text.endswith(". First: x: not run: lost. None was run")


def test_the_error_of_a_batch_is_short_even_if_many_days_failed() -> None:
    days = [START + timedelta(days=2 * n) for n in range(50)]
    text = remarks.failed_days(days, 99, "x")
    assert text.startswith("50 of 99 days failed: 2025-10-01, 2025-10-03, ")
    assert text.endswith(", 2025-11-08, and 30 more ranges. First: x")
