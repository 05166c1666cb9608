"""Launch, watch, retry and cancel batches on the page, then check the records in the database.

The whole stack is real. The tests in this module use days in November.
"""

import re
import time
from datetime import date
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

DAY_SECONDS = 0.6  # each day takes this long, so that the test can watch its batch
TIMEOUT_SECONDS = 180
LIST = "/sync-status/list?kind=batch&sort"
# Delays stream events so long that the page stops waiting for the stream and loads everything.
_SLOW_STREAM = """
window.SharedWorker = new Proxy(SharedWorker, {
  construct(target, args) {
    const { port } = new target(...args);
    const listen = port.addEventListener.bind(port);
    port.addEventListener = (kind, listener) =>
      listen(kind, (event) => setTimeout(listener, 1500, event));
    return { port, addEventListener() {} };
  },
});
"""


def test_the_progress_bar_of_a_launched_batch_moves_to_the_end(visit: Open, stack: Stack) -> None:
    batch_days = days(date(2025, 11, 2), 6)
    stack.pause("orders", batch_days, DAY_SECONDS)
    page = visit("/sync-status")
    fill_in(page, "orders", batch_days[0], batch_days[-1])
    expect(page.get_by_text("6 days to sync")).to_be_visible()
    page.get_by_role("button", name="Sync 6 days").click()

    row = row_of(page, batch_days[0], batch_days[-1])
    expect(state_of(row)).to_have_text("Syncing")
    expect(row.get_by_text("Batch", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("running")
    # The form is cleared so that a second click cannot launch the same days again.
    expect(page.get_by_label("First day")).to_have_value("")
    expect(page.get_by_role("button", name="Sync", exact=True)).to_be_visible()
    seen = _values_until_full(row.get_by_role("progressbar"), len(batch_days))
    assert len(seen) > 3, seen
    assert seen == sorted(seen)
    expect(state_of(row)).to_have_text("Success")
    expect(row.get_by_text("120 rows", exact=True)).to_be_visible()

    (record,) = _records(stack, "orders", batch_days[0], batch_days[-1])
    assert (record["status"], record["success_count"]) == ("success", 6)
    assert record["total_records"] == 6 * ROWS_PER_DAY
    in_dagster = row.get_by_role("link", name="Open orders in Dagster (new tab)")
    expect(in_dagster).to_have_attribute("href", f"{stack.dagster.url}/runs/{record['run_id']}")
    assert record["remarks"].startswith("批量同步完成: 2025-11-02至2025-11-07, 共6天, 成功6")
    assert stack.differing_days("orders", batch_days) == []


def test_the_form_keeps_its_values_while_the_page_reloads_its_data(visit: Open) -> None:
    batch_days = days(date(2025, 11, 25), 6)
    page = visit("/static/icon.svg")
    page.add_init_script(_SLOW_STREAM)
    held: list[Route] = []
    responses: list[Response] = []
    page.route("**/api/v1/datasets", lambda route: held.append(route))
    page.on(
        "response", lambda one: responses.append(one) if one.url.endswith("/api/v1/me") else None
    )
    page.goto("/sync-status")
    # The stream opens late, so the page is shown first and then loads everything again.
    wait_until(lambda: page.evaluate("true") and held and len(responses) == 2)
    with page.expect_response(lambda one: LIST in one.url):
        held[0].continue_()
    fill_in(page, "orders", batch_days[0], batch_days[-1])
    wait_until(lambda: page.evaluate("true") and len(held) == 2)
    with page.expect_response(lambda one: LIST in one.url):
        held[1].continue_()
    expect(_form(page).get_by_label("Dataset")).to_have_value("orders")
    expect(page.get_by_label("First day")).to_have_value(str(batch_days[0]))
    expect(page.get_by_text("6 days to sync")).to_be_visible()


def test_a_failed_day_is_named_and_succeeds_when_retried(visit: Open, stack: Stack) -> None:
    batch_days = days(date(2025, 11, 8), 4)
    stack.spoil("events", batch_days[2])
    page = visit("/sync-status")
    fill_in(page, "events", batch_days[0], batch_days[-1])
    page.get_by_role("button", name="Sync 4 days").click()
    row = row_of(page, batch_days[0], batch_days[-1])
    expect(state_of(row)).to_have_text("Failed")
    expect(row.get_by_text("1 of 4 days failed: 2025-11-10.")).to_be_visible()

    row.get_by_role("link", name="events 2025").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2025-11-08 → 2025-11-11")
    table = page.get_by_role("table").first
    expect(table.get_by_role("row", name=re.compile("2025-11-10.*Failed"))).to_be_visible()
    expect(table.get_by_text("violates check constraint")).to_be_visible()

    stack.repair("events", batch_days[2])
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry 1 day").click()
    # Dagster takes seconds to start a run; until then, the page shows that the run is starting.
    expect(page.get_by_text(re.compile("^(S|.*s)tarting")).first).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    expect(table.get_by_role("row", name=re.compile("2025-11-10.*Success"))).to_be_visible()
    expect(table.get_by_text("Failed")).to_have_count(0)
    page.get_by_text("1 superseded attempt").click()
    earlier = page.get_by_role("table").last.get_by_role("row", name="2025-11-10 Mon Failed")
    expect(earlier).to_contain_text("local, API")
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuetext", "4 days")
    (record,) = _records(stack, "events", batch_days[0], batch_days[-1])
    assert (record["status"], record["error_message"]) == ("success", None)
    assert stack.differing_days("events", batch_days) == []


def test_a_batch_is_cancelled_after_confirmation(visit: Open, stack: Stack) -> None:
    batch_days = days(date(2025, 11, 13), 8)
    stack.pause("orders", batch_days, 2)
    page = visit("/sync-status")
    fill_in(page, "orders", batch_days[0], batch_days[-1])
    page.get_by_role("button", name="Sync 8 days").click()
    row = row_of(page, batch_days[0], batch_days[-1])
    expect(row.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "0")

    row.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep running").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(state_of(row)).to_have_text("Syncing")
    row.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel batch").click()

    expect(state_of(row)).to_have_text("Failed")
    expect(row).to_contain_text("cancelled by local over the API")
    expect(page.get_by_text("Cancelled by local: orders 2025-11-13 → 2025-11-20")).to_be_visible()
    expect(row.get_by_role("button", name="Retry")).to_be_visible()
    (record,) = _records(stack, "orders", batch_days[0], batch_days[-1])
    assert record["status"] == "failed"
    assert 0 < record["success_count"] < len(batch_days)
    assert stack.differing_days("orders", batch_days[: record["success_count"]]) == []


def test_an_invalid_range_is_reported_next_to_its_field(visit: Open) -> None:
    page = visit("/sync-status")
    fill_in(page, "events", date(2025, 12, 20), date(2026, 1, 2))
    message = page.get_by_text("The latest available day of events is 2025-12-31.")
    expect(message).to_be_visible()
    page.get_by_role("button", name="Sync", exact=True).click()
    expect(page.get_by_label("Last day")).to_be_focused()
    expect(page.get_by_label("Last day")).to_have_attribute("aria-invalid", "true")
    described = page.get_by_label("Last day").get_attribute("aria-describedby")
    expect(page.locator(f"[id='{described}']")).to_contain_text("is 2025-12-31.")
    page.get_by_label("Last day").fill("2025-12-31")
    expect(message).to_have_count(0)


def test_a_problem_without_a_field_is_announced(visit: Open) -> None:
    page = visit("/sync-status")
    problem = {"title": "Too Many Requests", "status": 429, "detail": "wait 7 s"}
    page.route("**/sync-status/sync/batch", lambda route: route.fulfill(status=429, json=problem))
    fill_in(page, "events", date(2025, 11, 28), date(2025, 11, 29))
    page.get_by_role("button", name="Sync 2 days").click()
    expect(page.get_by_role("alert")).to_have_text("Too many requests: wait 7 s")


def test_synced_days_are_skipped_and_the_preview_says_so(visit: Open, stack: Stack) -> None:
    batch_days = days(date(2025, 11, 22), 3)
    page = visit("/sync-status")
    fill_in(page, "events", batch_days[1], batch_days[1])
    page.get_by_role("button", name="Sync 1 day").click()
    expect(state_of(row_of(page, batch_days[1], batch_days[1]))).to_have_text("Success")

    fill_in(page, "events", batch_days[0], batch_days[-1])
    expect(page.get_by_text("2 days to sync")).to_be_visible()
    expect(page.get_by_text("1 already synced day will be skipped")).to_be_visible()
    page.get_by_label("Already synced days").select_option("Sync again")
    expect(page.get_by_text("3 days to sync")).to_be_visible()
    page.get_by_label("Already synced days").select_option("Skip")
    page.get_by_role("button", name="Sync 2 days").click()
    row = row_of(page, batch_days[0], batch_days[-1])
    expect(state_of(row)).to_have_text("Success")
    expect(row.get_by_text("3 days, 1 skipped")).to_be_visible()
    assert stack.differing_days("events", batch_days) == []


def fill_in(page: Page, dataset: str, first: date, last: date) -> None:
    """Fill in the launch form."""
    form = _form(page)
    form.get_by_label("Dataset").select_option(dataset)
    form.get_by_label("First day").fill(str(first))
    form.get_by_label("Last day").fill(str(last))


def row_of(page: Page, first: date, last: date) -> Locator:
    """Return the row of the latest batch with this day range."""
    text = str(first) if first == last else f"{first} → {last}"
    return page.get_by_role("row").filter(has_text=text).first


def state_of(row: Locator) -> Locator:
    return row.get_by_role("cell").first


def _form(page: Page) -> Locator:
    return page.get_by_role("form", name="Launch a batch")


def _values_until_full(bar: Locator, full: int) -> list[int]:
    """Poll a progress bar until it is full; return the distinct values that it showed."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    seen: list[int] = []
    while not seen or seen[-1] < full:
        assert time.monotonic() < deadline, seen
        value = int(bar.get_attribute("aria-valuenow") or 0)
        if not seen or seen[-1] != value:
            seen.append(value)
    return seen


def _records(stack: Stack, dataset: str, first: date, last: date) -> list[dict[str, Any]]:
    return stack.target(
        "SELECT * FROM daily_sync_status WHERE kind = 'batch' AND dataset = %s"
        " AND start_date = %s AND end_date = %s ORDER BY id",
        [dataset, first, last],
    )
