"""A batch that really runs, as all who look at it see it: in step, with its pace, over a restart.

These tests' days are those of August.
"""

import re
from collections.abc import Callable
from datetime import date

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import Site
from sync_pipeline_tests.browser.test_page_batches import fill_in, row_of, state_of
from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_PAUSE_SECONDS = 1.0  # a day takes so long, so that its batch can be watched


def test_two_browsers_and_a_records_page_follow_a_running_batch_in_step(
    visit: Open, stack: Stack
) -> None:
    of = days(date(2025, 8, 1), 8)
    stack.pause("orders", of, _PAUSE_SECONDS)
    page, other = visit("/sync-status"), visit("/sync-status", locale="zh-CN")
    expect(other.get_by_text("实时", exact=True)).to_be_visible()
    _launch(page, of)
    row, same = row_of(page, of[0], of[-1]), row_of(other, of[0], of[-1])
    expect(state_of(same)).to_have_text("同步中")
    other.get_by_role("link", name=f"orders {of[0]}").click()
    squares = other.locator(".daymap .square")
    bar = row.get_by_role("progressbar")
    for done in range(2, len(of) + 1, 2):
        _wait_for(lambda: squares.and_(other.locator(".success")).count(), done)
        _wait_for(lambda: int(bar.get_attribute("aria-valuenow") or 0), done)
    expect(state_of(row)).to_have_text("Success")
    expect(other.get_by_role("heading", level=1).locator("xpath=..")).to_contain_text("成功")
    expect(other.get_by_role("button", name="成功 8")).to_have_count(0)  # one state: no choice
    assert stack.differing_days("orders", of) == []


def test_a_batch_at_work_tells_its_pace_and_how_long_it_will_take(
    visit: Open, stack: Stack
) -> None:
    of = days(date(2025, 8, 9), 6)
    page, row = _watched(visit, stack, of)
    expect(row.get_by_text(re.compile(r"^[\d,]+ rows/s$"))).to_be_visible()
    expect(row.get_by_text(re.compile(r"^(\d+ s left|almost done)$"))).to_be_visible()
    row.get_by_role("link", name=f"orders {of[0]}").click()
    pace = page.get_by_text(re.compile(r"^[\d,]+ rows, \d+ rows/s, (\d+ s left|almost done)$"))
    expect(pace).to_be_visible()
    # Dagster's own page of the run is one click away, and is the run's.
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Dagster ↗").click()
    (record,) = stack.target(
        "SELECT run_id FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s", [of[0]]
    )
    expect(opened.value.get_by_text(record["run_id"][:8]).first).to_be_visible()
    total = len(of) * ROWS_PER_DAY
    expect(page.get_by_text(re.compile(rf"^{total} rows, .*took \d+"))).to_be_visible()


def test_a_page_follows_a_running_batch_over_a_restart_of_its_server(
    visit: Open, stack: Stack, site: Site
) -> None:
    of = days(date(2025, 8, 15), 12)
    page, row = _watched(visit, stack, of)
    bar = row.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", re.compile("[1-9]"))
    page.evaluate("window.neverReloaded = true")
    site.stop()
    try:
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        before = int(bar.get_attribute("aria-valuenow") or 0)
    finally:
        site.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    wait_until(lambda: int(bar.get_attribute("aria-valuenow") or 0) > before)
    expect(state_of(row)).to_have_text("Success")
    expect(row.get_by_text("12 days", exact=True)).to_be_visible()
    assert page.evaluate("window.neverReloaded")
    assert stack.differing_days("orders", of) == []


def test_a_batch_that_is_being_cancelled_says_so_and_is_not_cancelled_twice(
    visit: Open, stack: Stack
) -> None:
    page = visit("/sync-status?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    (made,) = stack.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, dataset) VALUES ('2024-12-05',"
        " 'syncing', '批量同步: 2024-12-01 至 2024-12-10, 共10天', 'orders') RETURNING id"
    )
    row = page.locator(f'.row[data-id="{made["id"]}"]')
    expect(row.get_by_role("button", name="Cancel")).to_be_visible()
    stack.target(
        "UPDATE daily_sync_status SET cancelled_by = 'ada, API' WHERE id = %s", [made["id"]]
    )
    expect(row.get_by_text("Cancelling…")).to_be_visible()
    expect(row.get_by_role("button", name="Cancel")).to_have_count(0)
    row.get_by_role("link").first.click()
    expect(page.get_by_text("Cancelling…")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_text("正在取消…")).to_be_visible()
    stack.target("DELETE FROM daily_sync_status WHERE id = %s", [made["id"]])


def test_a_day_synced_again_is_launched_once_however_often_its_answer_is_lost(
    visit: Open, stack: Stack
) -> None:
    (day,) = days(date(2025, 8, 28), 1)
    page = visit("/sync-status")
    fill_in(page, "orders", day, day)
    page.get_by_role("button", name="Launch 1 day").click()
    expect(state_of(row_of(page, day, day))).to_have_text("Success")
    page.goto("/sync-status?kind=day&dataset=orders")
    row = row_of(page, day, day)

    keys: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            return route.continue_()
        route.fetch()
        return route.abort()

    page.route("**/sync-status/sync/batch", lose_the_first_answer)
    _ask_again(page, row)
    expect(page.get_by_text("The server does not answer.").first).to_be_visible()
    expect(row.get_by_role("button", name="Sync again")).to_be_visible()
    _ask_again(page, row)
    wait_until(lambda: page.evaluate("true") and len(keys) == 2)
    assert keys[0] == keys[1]
    expect(state_of(row)).to_have_text("Success")
    made = stack.target(
        "SELECT id FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s", [day]
    )
    assert len(made) == 2


def _watched(visit: Open, stack: Stack, of: list[date]) -> tuple[Page, Locator]:
    """Launch a batch of slow days on a page; return the page, and the batch's row on it."""
    stack.pause("orders", of, _PAUSE_SECONDS)
    page = visit("/sync-status")
    _launch(page, of)
    return page, row_of(page, of[0], of[-1])


def _launch(page: Page, of: list[date]) -> None:
    fill_in(page, "orders", of[0], of[-1])
    page.get_by_role("button", name=f"Launch {len(of)} days").click()


def _wait_for(count: Callable[[], int], least: int) -> None:
    wait_until(lambda: count() >= least)


def _ask_again(page: Page, row: Locator) -> None:
    row.get_by_role("button", name="Sync again").click()
    page.get_by_role("dialog").get_by_role("button", name="Sync it again").click()
