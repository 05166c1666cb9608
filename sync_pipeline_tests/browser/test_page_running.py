"""The page while a real batch runs: live progress, pace, cancellation, and server restarts.

The tests in this module use days in August.
"""

import re
from collections.abc import Callable
from datetime import date

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import Site
from sync_pipeline_tests.browser.test_page_batches import fill_in, row_of, state_of
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_DAY_SECONDS = 1.0  # each day takes this long, so that the test can watch its batch


def test_two_browsers_show_the_progress_of_a_running_batch_live(visit: Open, stack: Stack) -> None:
    batch_days = days(date(2025, 8, 1), 8)
    stack.pause("orders", batch_days, _DAY_SECONDS)
    page, other = visit("/sync-status"), visit("/sync-status", locale="zh-CN")
    expect(other.get_by_text("实时", exact=True)).to_be_visible()
    _launch(page, batch_days)
    row, other_row = (
        row_of(page, batch_days[0], batch_days[-1]),
        row_of(other, batch_days[0], batch_days[-1]),
    )
    expect(state_of(other_row)).to_have_text("同步中")
    other.get_by_role("link", name=f"orders {batch_days[0]}").click()
    squares = other.locator(".day-map .square")
    bar = row.get_by_role("progressbar")
    for done in range(2, len(batch_days) + 1, 2):
        _wait_for(lambda: squares.and_(other.locator(".success")).count(), done)
        _wait_for(lambda: int(bar.get_attribute("aria-valuenow") or 0), done)
    expect(state_of(row)).to_have_text("Success")
    expect(other.get_by_role("heading", level=1).locator("xpath=..")).to_contain_text("成功")
    # If all days have the same state, no state filter is shown.
    expect(other.get_by_role("button", name="成功 8")).to_have_count(0)
    assert stack.differing_days("orders", batch_days) == []


def test_a_running_batch_shows_its_pace_and_remaining_time(visit: Open, stack: Stack) -> None:
    batch_days = days(date(2025, 8, 9), 6)
    page, row = _launch_slow_batch(visit, stack, batch_days)
    expect(row.get_by_text(re.compile(r"^[\d,]+ rows/s$"))).to_be_visible()
    expect(row.get_by_text(re.compile(r"^(\d+ s left|almost done)$"))).to_be_visible()
    row.get_by_role("link", name=f"orders {batch_days[0]}").click()
    pace = page.get_by_text(re.compile(r"^[\d,]+ rows, \d+ rows/s, (\d+ s left|almost done)$"))
    expect(pace).to_be_visible()
    # The link opens the run's page in Dagster.
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Dagster ↗").click()
    (record,) = stack.target(
        "SELECT run_id FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s",
        [batch_days[0]],
    )
    expect(opened.value.get_by_text(record["run_id"][:8]).first).to_be_visible()
    total = len(batch_days) * ROWS_PER_DAY
    expect(page.get_by_text(re.compile(rf"^{total} rows, .*took \d+"))).to_be_visible()


def test_a_page_keeps_following_a_running_batch_after_a_server_restart(
    visit: Open, stack: Stack, site: Site
) -> None:
    batch_days = days(date(2025, 8, 15), 12)
    page, row = _launch_slow_batch(visit, stack, batch_days)
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
    assert stack.differing_days("orders", batch_days) == []


def test_a_batch_being_cancelled_shows_no_cancel_button(visit: Open, stack: Stack) -> None:
    page = visit("/sync-status?dataset=orders")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    (inserted,) = stack.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, dataset) VALUES ('2024-12-05',"
        " 'syncing', '批量同步: 2024-12-01 至 2024-12-10, 共10天', 'orders') RETURNING id"
    )
    row = page.locator(f'.row[data-id="{inserted["id"]}"]')
    expect(row.get_by_role("button", name="Cancel")).to_be_visible()
    stack.target(
        "UPDATE daily_sync_status SET cancelled_by = 'ada, API' WHERE id = %s", [inserted["id"]]
    )
    expect(row.get_by_text("Cancelling…")).to_be_visible()
    expect(row.get_by_role("button", name="Cancel")).to_have_count(0)
    row.get_by_role("link").first.click()
    expect(page.get_by_text("Cancelling…")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_text("正在取消…")).to_be_visible()
    stack.target("DELETE FROM daily_sync_status WHERE id = %s", [inserted["id"]])


def test_sync_again_launches_one_batch_even_if_the_response_is_lost(
    visit: Open, stack: Stack
) -> None:
    (day,) = days(date(2025, 8, 28), 1)
    page = visit("/sync-status")
    fill_in(page, "orders", day, day)
    page.get_by_role("button", name="Sync 1 day").click()
    expect(state_of(row_of(page, day, day))).to_have_text("Success")
    page.goto("/sync-status?kind=day&dataset=orders")
    row = row_of(page, day, day)

    keys: list[str] = []

    def lose_the_first_response(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            return route.continue_()
        route.fetch()
        return route.abort()

    page.route("**/sync-status/sync/batch", lose_the_first_response)
    _sync_again(page, row)
    expect(page.get_by_text("The server is not responding.").first).to_be_visible()
    expect(row.get_by_role("button", name="Sync again")).to_be_visible()
    _sync_again(page, row)
    wait_until(lambda: page.evaluate("true") and len(keys) == 2)
    assert keys[0] == keys[1]
    expect(state_of(row)).to_have_text("Success")
    batches = stack.target(
        "SELECT id FROM daily_sync_status WHERE kind = 'batch' AND start_date = %s", [day]
    )
    assert len(batches) == 2


def _launch_slow_batch(visit: Open, stack: Stack, batch_days: list[date]) -> tuple[Page, Locator]:
    """Open the page and launch a batch of slow days; return the page and the batch's row."""
    stack.pause("orders", batch_days, _DAY_SECONDS)
    page = visit("/sync-status")
    _launch(page, batch_days)
    return page, row_of(page, batch_days[0], batch_days[-1])


def _launch(page: Page, batch_days: list[date]) -> None:
    fill_in(page, "orders", batch_days[0], batch_days[-1])
    page.get_by_role("button", name=f"Sync {len(batch_days)} days").click()


def _wait_for(count: Callable[[], int], minimum: int) -> None:
    wait_until(lambda: count() >= minimum)


def _sync_again(page: Page, row: Locator) -> None:
    row.get_by_role("button", name="Sync again").click()
    page.get_by_role("dialog").get_by_role("button", name="Sync again").click()
