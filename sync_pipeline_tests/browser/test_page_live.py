"""The page updates automatically when records change, even after a server restart."""

import re
from datetime import date

import pytest
from playwright.sync_api import Locator, Page, expect

from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import DAGSTER_WEBSERVER_URL
from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import Site, site_running
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_INSERT_BATCH = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES (%s, 'syncing', '批量同步: ' || %s || ' 至 ' || %s || ', 共10天', 'orders') RETURNING id
"""
_UPDATE_PROGRESS = """
UPDATE daily_sync_status SET success_count = %s,
    remarks = '批量同步进度: ' || %s || '/10天, 成功' || %s || ', 失败0, 跳过0' WHERE id = %s
"""
_FINISH_BATCH = """
UPDATE daily_sync_status SET status = 'success', success_count = 10,
    remarks = '批量同步完成: 共10天, 成功10, 失败0, 跳过0, 耗时0分1秒' WHERE id = %s
"""
_INSERT_DAYS = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset, start_time)
SELECT day, 'success', '单日同步完成', 'long', '2024-01-01'::timestamptz + n * interval '1 minute'
FROM generate_series('2023-01-01'::date, %s, interval '1 day')
     WITH ORDINALITY AS d (day, n)
"""
_INSERT_DAY = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
VALUES ('2023-05-01', 'success', '单日同步完成', 'long')
"""
_INSERT_RETRIED_BATCH = """
INSERT INTO daily_sync_status (sync_date, status, remarks, dataset, start_time, retried_at)
VALUES ('2024-08-05', 'syncing', '批量同步: 2024-08-01 至 2024-08-10, 共10天', 'orders',
        clock_timestamp() - interval '1 hour', clock_timestamp()) RETURNING id
"""
_INSERT_FAILED_DAY = """
INSERT INTO daily_sync_status (sync_date, status, remarks, error_message, dataset)
VALUES ('2024-08-20', 'failed', '单日同步失败: no room', 'no room', 'orders') RETURNING id
"""
_SOON = 4000  # milliseconds: changes appear within a second; the rest is margin for a busy machine


def test_two_browsers_show_the_same_progress(visit: Open, stack: Stack) -> None:
    pages = [visit("/sync-status"), visit("/sync-status", locale="zh-CN")]
    for page, text in zip(pages, ("Live", "实时"), strict=True):
        expect(page.get_by_text(text, exact=True)).to_be_visible()
    batch = _open_batch(stack, date(2024, 1, 1))
    for page in pages:
        expect(_bar(page, batch)).to_have_attribute("aria-valuenow", "0", timeout=_SOON)
    for done in (3, 7):
        _set_progress(stack, batch, done)
        for page in pages:
            expect(_bar(page, batch)).to_have_attribute("aria-valuenow", str(done), timeout=_SOON)
    stack.target(_FINISH_BATCH, [batch])
    for page, text in zip(pages, ("Success", "成功"), strict=True):
        expect(_row(page, batch).get_by_text(text, exact=True)).to_be_visible(timeout=_SOON)


def test_a_page_catches_up_after_a_server_restart(visit: Open, stack: Stack, site: Site) -> None:
    page = visit("/sync-status")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    before = _open_batch(stack, date(2024, 2, 1))
    expect(_bar(page, before)).to_have_attribute("aria-valuenow", "0")

    site.stop()
    try:
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        _set_progress(stack, before, 6)
        during = _open_batch(stack, date(2024, 3, 1))
    finally:
        site.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(_bar(page, before)).to_have_attribute("aria-valuenow", "6")
    expect(_bar(page, during)).to_have_attribute("aria-valuenow", "0")
    stack.target(_FINISH_BATCH, [before])
    expect(_row(page, before).get_by_text("Success", exact=True)).to_be_visible(timeout=_SOON)
    stack.target(_FINISH_BATCH, [during])
    assert page.evaluate("window.neverReloaded")


def test_without_dagster_the_page_shows_the_records_and_explains_the_missing_form(
    visit: Open, stack: Stack
) -> None:
    batch = _open_batch(stack, date(2024, 9, 1))
    with site_running(stack, **{DAGSTER_WEBSERVER_URL: f"http://127.0.0.1:{free_port(0)}"}) as site:
        page = visit(f"{site.url}/sync-status", locale="zh-CN")
        expect(page.get_by_text("Dagster 没有响应，请在 Dagster 恢复后重试。")).to_be_visible()
        expect(_bar(page, batch)).to_have_attribute("aria-valuenow", "0")
        expect(page.get_by_role("form", name="发起补数")).to_have_count(0)
        _set_progress(stack, batch, 4)
        expect(_bar(page, batch)).to_have_attribute("aria-valuenow", "4", timeout=_SOON)
    stack.target(_FINISH_BATCH, [batch])


def test_a_record_that_no_longer_matches_the_filter_is_removed(visit: Open, stack: Stack) -> None:
    page = visit("/sync-status?status=syncing&dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    batch = _open_batch(stack, date(2024, 4, 1))
    expect(_row(page, batch)).to_be_visible(timeout=_SOON)
    stack.target(_FINISH_BATCH, [batch])
    expect(_row(page, batch)).to_have_count(0, timeout=_SOON)
    page.get_by_text("Success", exact=True).click()
    expect(_row(page, batch)).to_be_visible()
    assert "status=syncing&status=success" in page.url


def test_a_long_list_is_loaded_page_by_page(visit: Open, stack: Stack) -> None:
    stack.target(_INSERT_DAYS, [date(2023, 4, 30)])
    page = visit("/sync-status?dataset=long&kind=all")
    rows = page.locator(".rows .row")
    expect(page.get_by_text("50 of 120")).to_be_visible()
    page.get_by_role("button", name="Load more").click()
    expect(page.get_by_text("100 of 120")).to_be_visible()
    expect(rows.nth(50).get_by_role("link").first).to_be_focused()
    stack.target(_INSERT_DAY)  # its row appears at the top and must not shift the next pages
    expect(page.get_by_text("101 of 121")).to_be_visible()
    page.get_by_role("button", name="Load more").click()
    expect(page.get_by_text("121 of 121")).to_be_visible()
    expect(page.get_by_role("button", name="Load more")).to_have_count(0)
    days = page.locator(".rows .row .days").all_inner_texts()
    assert len(days) == len(set(days)) == 121
    stack.target("DELETE FROM daily_sync_status WHERE dataset = 'long'")


def test_a_long_list_is_restored_when_the_user_comes_back(visit: Open, stack: Stack) -> None:
    stack.target(_INSERT_DAYS, [date(2023, 9, 30)])
    page = visit("/sync-status?dataset=long&kind=all")
    for shown in (50, 100, 150, 200):
        expect(page.get_by_text(f"{shown} of 273")).to_be_visible()
        page.get_by_role("button", name="Load more").click()
    page.get_by_role("link", name="long 2023-01-31").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2023-01-31")
    page.go_back()
    expect(page.get_by_text("250 of 273")).to_be_visible()
    expect(page.get_by_role("link", name="long 2023-01-31")).to_be_in_viewport()
    page.get_by_role("button", name="Load more").click()
    expect(page.get_by_text("273 of 273")).to_be_visible()
    stack.target("DELETE FROM daily_sync_status WHERE dataset = 'long'")


def test_a_retried_batch_shows_the_time_since_its_retry(visit: Open, stack: Stack) -> None:
    (inserted,) = stack.target(_INSERT_RETRIED_BATCH)
    page = visit("/sync-status?dataset=orders")
    row = _row(page, inserted["id"])
    expect(row.get_by_text(re.compile(r"^starting \((\S+) s\)$"))).to_be_visible()
    stack.target(_FINISH_BATCH, [inserted["id"]])


def test_an_error_is_not_shown_twice_in_a_row(visit: Open, stack: Stack) -> None:
    (inserted,) = stack.target(_INSERT_FAILED_DAY)
    page = visit("/sync-status?kind=day&q=no+room")
    expect(_row(page, inserted["id"]).get_by_text("no room")).to_have_count(1)
    _row(page, inserted["id"]).get_by_role("link").first.click()
    # The record's page shows the remarks unchanged.
    expect(page.get_by_text("单日同步失败: no room")).to_be_visible()


def test_remarks_and_errors_are_shown_as_text(visit: Open, stack: Stack) -> None:
    attack = "<img src=x onerror=\"document.title='taken'\"><b>not bold</b>"
    (inserted,) = stack.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, error_message, dataset)"
        " VALUES ('2024-05-05', 'failed', '批量同步失败: ' || %s, %s, 'orders') RETURNING id",
        [attack, attack],
    )
    page = visit("/sync-status?q=onerror")
    expect(_row(page, inserted["id"]).get_by_text(attack).first).to_be_visible()
    page.goto(f"/sync-status/{inserted['id']}")
    expect(page.get_by_text(attack).first).to_be_visible()
    assert page.locator("main img, main b").count() == 0


def _open_batch(stack: Stack, first: date) -> int:
    last = first.replace(day=10)
    (inserted,) = stack.target(_INSERT_BATCH, [first.replace(day=5), str(first), str(last)])
    return int(inserted["id"])


def _set_progress(stack: Stack, batch: int, done: int) -> None:
    stack.target(_UPDATE_PROGRESS, [done, done, done, batch])


def _row(page: Page, batch: int) -> Locator:
    return page.locator(f'.row[data-id="{batch}"]')


def _bar(page: Page, batch: int) -> Locator:
    return _row(page, batch).get_by_role("progressbar")
