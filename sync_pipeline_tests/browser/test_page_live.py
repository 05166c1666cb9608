"""The page follows the record by itself: in every browser, and over a restart of its server."""

import re
from datetime import date

import pytest
from playwright.sync_api import Locator, Page, expect

from sync_pipeline.local.stack import free_port
from sync_pipeline.settings import DAGSTER_UI_URL
from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import Site, site_running
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_OPEN = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES (%s, 'syncing', '批量同步: ' || %s || ' 至 ' || %s || ', 共10天', 'orders') RETURNING id
"""
_PROGRESS = """
UPDATE daily_sync_status SET success_count = %s,
    remarks = '批量同步进度: ' || %s || '/10天, 成功' || %s || ', 失败0, 跳过0' WHERE id = %s
"""
_CLOSE = """
UPDATE daily_sync_status SET status = 'success', success_count = 10,
    remarks = '批量同步完成: 共10天, 成功10, 失败0, 跳过0, 耗时0分1秒' WHERE id = %s
"""
_MANY = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset, start_time)
SELECT day, 'success', '单日同步完成', 'long', '2024-01-01'::timestamptz + n * interval '1 minute'
FROM generate_series('2023-01-01'::date, %s, interval '1 day')
     WITH ORDINALITY AS d (day, n)
"""
_ONE_MORE = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES ('2023-05-01', 'success', '单日同步完成', 'long')
"""
_TAKEN_UP_AGAIN = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset, start_time, retried_at)
VALUES ('2024-08-05', 'syncing', '批量同步: 2024-08-01 至 2024-08-10, 共10天', 'orders',
        clock_timestamp() - interval '1 hour', clock_timestamp()) RETURNING id
"""
_FAILED_DAY = """
INSERT INTO daily_sync_status (sync_date, status, remarks, error_message, dataset)
VALUES ('2024-08-20', 'failed', '单日同步失败: no room', 'no room', 'orders') RETURNING id
"""
_SOON = 1500  # milliseconds: a change shows in under a second, and the machine may be busy


def test_two_browsers_stay_in_step(visit: Open, stack: Stack) -> None:
    pages = [visit("/sync-status"), visit("/sync-status", locale="zh-CN")]
    for page, word in zip(pages, ("Live", "实时"), strict=True):
        expect(page.get_by_text(word, exact=True)).to_be_visible()
    batch = _open_batch(stack, date(2024, 1, 1))
    for page in pages:
        expect(_bar(page, batch)).to_have_attribute("aria-valuenow", "0", timeout=_SOON)
    for done in (3, 7):
        _move(stack, batch, done)
        for page in pages:
            expect(_bar(page, batch)).to_have_attribute("aria-valuenow", str(done), timeout=_SOON)
    stack.target(_CLOSE, [batch])
    for page, word in zip(pages, ("Success", "成功"), strict=True):
        expect(_row(page, batch).get_by_text(word, exact=True)).to_be_visible(timeout=_SOON)


def test_a_page_catches_up_after_its_server_was_restarted(
    visit: Open, stack: Stack, site: Site
) -> None:
    page = visit("/sync-status")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    before = _open_batch(stack, date(2024, 2, 1))
    expect(_bar(page, before)).to_have_attribute("aria-valuenow", "0")

    site.stop()
    try:
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        _move(stack, before, 6)
        during = _open_batch(stack, date(2024, 3, 1))
    finally:
        site.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(_bar(page, before)).to_have_attribute("aria-valuenow", "6")
    expect(_bar(page, during)).to_have_attribute("aria-valuenow", "0")
    stack.target(_CLOSE, [before])
    expect(_row(page, before).get_by_text("Success", exact=True)).to_be_visible(timeout=_SOON)
    stack.target(_CLOSE, [during])
    assert page.evaluate("window.neverReloaded")


def test_without_dagster_the_records_are_there_and_why_nothing_can_be_launched(
    visit: Open, stack: Stack
) -> None:
    batch = _open_batch(stack, date(2024, 9, 1))
    with site_running(stack, **{DAGSTER_UI_URL: f"http://127.0.0.1:{free_port(0)}"}) as alone:
        page = visit(f"{alone.url}/sync-status", locale="zh-CN")
        expect(page.get_by_text("Dagster 没有响应，请在它运行后重试。")).to_be_visible()
        expect(_bar(page, batch)).to_have_attribute("aria-valuenow", "0")
        expect(page.get_by_role("form", name="启动批量同步")).to_have_count(0)
        _move(stack, batch, 4)
        expect(_bar(page, batch)).to_have_attribute("aria-valuenow", "4", timeout=_SOON)
    stack.target(_CLOSE, [batch])


def test_a_record_that_leaves_the_filter_leaves_the_list(visit: Open, stack: Stack) -> None:
    page = visit("/sync-status?status=syncing&dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    batch = _open_batch(stack, date(2024, 4, 1))
    expect(_row(page, batch)).to_be_visible(timeout=_SOON)
    stack.target(_CLOSE, [batch])
    expect(_row(page, batch)).to_have_count(0, timeout=_SOON)
    page.get_by_text("Success", exact=True).click()
    expect(_row(page, batch)).to_be_visible()
    assert "status=syncing&status=success" in page.url


def test_a_long_list_is_read_on_page_by_page(visit: Open, stack: Stack) -> None:
    stack.target(_MANY, [date(2023, 4, 30)])
    page = visit("/sync-status?dataset=long&kind=all")
    rows = page.locator(".rows .row")
    expect(page.get_by_text("50 of 120")).to_be_visible()
    page.get_by_role("button", name="More").click()
    expect(page.get_by_text("100 of 120")).to_be_visible()
    expect(rows.nth(50).get_by_role("link").first).to_be_focused()
    stack.target(_ONE_MORE)  # it comes in on top, and moves nothing on the pages to come
    expect(page.get_by_text("101 of 121")).to_be_visible()
    page.get_by_role("button", name="More").click()
    expect(page.get_by_text("121 of 121")).to_be_visible()
    expect(page.get_by_role("button", name="More")).to_have_count(0)
    days = page.locator(".rows .row .days").all_inner_texts()
    assert len(days) == len(set(days)) == 121
    stack.target("DELETE FROM daily_sync_status WHERE dataset = 'long'")


def test_a_long_list_is_as_long_when_it_is_come_back_to(visit: Open, stack: Stack) -> None:
    stack.target(_MANY, [date(2023, 9, 30)])
    page = visit("/sync-status?dataset=long&kind=all")
    for shown in (50, 100, 150, 200):
        expect(page.get_by_text(f"{shown} of 273")).to_be_visible()
        page.get_by_role("button", name="More").click()
    page.get_by_role("link", name="long 2023-01-31").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2023-01-31")
    page.go_back()
    expect(page.get_by_text("250 of 273")).to_be_visible()
    expect(page.get_by_role("link", name="long 2023-01-31")).to_be_in_viewport()
    page.get_by_role("button", name="More").click()
    expect(page.get_by_text("273 of 273")).to_be_visible()
    stack.target("DELETE FROM daily_sync_status WHERE dataset = 'long'")


def test_a_batch_taken_up_again_has_been_starting_since_then(visit: Open, stack: Stack) -> None:
    (made,) = stack.target(_TAKEN_UP_AGAIN)
    page = visit("/sync-status?dataset=orders")
    row = _row(page, made["id"])
    expect(row.get_by_text(re.compile(r"^starting, (\S+) s$"))).to_be_visible()
    stack.target(_CLOSE, [made["id"]])


def test_an_error_is_not_said_twice_in_a_row(visit: Open, stack: Stack) -> None:
    (made,) = stack.target(_FAILED_DAY)
    page = visit("/sync-status?kind=day&q=no+room")
    expect(_row(page, made["id"]).get_by_text("no room")).to_have_count(1)
    _row(page, made["id"]).get_by_role("link").first.click()
    expect(page.get_by_text("单日同步失败: no room")).to_be_visible()  # the record, as it is


def test_what_a_record_says_is_shown_as_text(visit: Open, stack: Stack) -> None:
    attack = "<img src=x onerror=\"document.title='taken'\"><b>not bold</b>"
    (made,) = stack.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, error_message, dataset)"
        " VALUES ('2024-05-05', 'failed', '批量同步失败: ' || %s, %s, 'orders') RETURNING id",
        [attack, attack],
    )
    page = visit("/sync-status?q=onerror")
    expect(_row(page, made["id"]).get_by_text(attack).first).to_be_visible()
    page.goto(f"/sync-status/{made['id']}")
    expect(page.get_by_text(attack).first).to_be_visible()
    assert page.locator("main img, main b").count() == 0


def _open_batch(stack: Stack, first: date) -> int:
    last = first.replace(day=10)
    (made,) = stack.target(_OPEN, [first.replace(day=5), str(first), str(last)])
    return int(made["id"])


def _move(stack: Stack, batch: int, done: int) -> None:
    stack.target(_PROGRESS, [done, done, done, batch])


def _row(page: Page, batch: int) -> Locator:
    return page.locator(f'.row[data-id="{batch}"]')


def _bar(page: Page, batch: int) -> Locator:
    return _row(page, batch).get_by_role("progressbar")
