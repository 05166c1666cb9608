"""Batches launched, watched, retried and cancelled on the page, then the record in SQL.

Everything behind the browser is real. These tests' days are those of November.
"""

import re
import time
from datetime import date
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PAUSE_SECONDS = 0.6  # a day takes so long, so that its batch can be watched
PATIENCE_SECONDS = 90
LIST = "/sync-status/list?kind=batch&sort"
# Longer than the page waits for it before it reads everything.
_SLOW_STREAM = """
window.SharedWorker = new Proxy(SharedWorker, {
  construct(of, given) {
    const { port } = new of(...given);
    const listen = port.addEventListener.bind(port);
    port.addEventListener = (kind, on) => listen(kind, (event) => setTimeout(on, 1500, event));
    return { port, addEventListener() {} };
  },
});
"""


def test_a_batch_launched_on_the_page_moves_its_bar_to_the_end(visit: Open, stack: Stack) -> None:
    of = days(date(2025, 11, 2), 6)
    stack.pause("orders", of, PAUSE_SECONDS)
    page = visit("/sync-status")
    fill_in(page, "orders", of[0], of[-1])
    expect(page.get_by_text("6 days to sync")).to_be_visible()
    page.get_by_role("button", name="Launch 6 days").click()

    row = row_of(page, of[0], of[-1])
    expect(state_of(row)).to_have_text("Syncing")
    expect(row.get_by_text("Batch", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("at work")
    # The form is empty again: a second click is not to launch the same days once more.
    expect(page.get_by_label("from", exact=True).first).to_have_value("")
    expect(page.get_by_role("button", name="Launch", exact=True)).to_be_visible()
    seen = _values_until_full(row.get_by_role("progressbar"), len(of))
    assert len(seen) > 3, seen
    assert seen == sorted(seen)
    expect(state_of(row)).to_have_text("Success")
    expect(row.get_by_text("120 rows", exact=True)).to_be_visible()

    (record,) = _records(stack, "orders", of[0], of[-1])
    assert (record["status"], record["success_count"]) == ("success", 6)
    assert record["total_records"] == 6 * ROWS_PER_DAY
    in_dagster = row.get_by_role("link", name="orders in Dagster (a new tab)")
    expect(in_dagster).to_have_attribute("href", f"{stack.dagster.url}/runs/{record['run_id']}")
    assert record["remarks"].startswith("批量同步完成: 2025-11-02至2025-11-07, 共6天, 成功6")
    assert stack.differing_days("orders", of) == []


def test_what_was_filled_in_stays_while_the_page_is_read_anew(visit: Open) -> None:
    of = days(date(2025, 11, 25), 6)
    page = visit("/static/icon.svg")
    page.add_init_script(_SLOW_STREAM)
    held: list[Route] = []
    asked: list[Response] = []
    page.route("**/api/v1/datasets", lambda route: held.append(route))
    page.on("response", lambda one: asked.append(one) if one.url.endswith("/api/v1/me") else None)
    page.goto("/sync-status")
    # What a stream that opened this late has not told is read once the page stands.
    wait_until(lambda: page.evaluate("true") and held and len(asked) == 2)
    with page.expect_response(lambda one: LIST in one.url):
        held[0].continue_()
    fill_in(page, "orders", of[0], of[-1])
    wait_until(lambda: page.evaluate("true") and len(held) == 2)
    with page.expect_response(lambda one: LIST in one.url):
        held[1].continue_()
    expect(page.get_by_label("Sync", exact=True)).to_have_value("orders")
    expect(page.get_by_label("from", exact=True).first).to_have_value(str(of[0]))
    expect(page.get_by_text("6 days to sync")).to_be_visible()


def test_a_failed_day_is_named_and_turns_green_when_it_is_retried(
    visit: Open, stack: Stack
) -> None:
    of = days(date(2025, 11, 8), 4)
    stack.spoil("events", of[2])
    page = visit("/sync-status")
    fill_in(page, "events", of[0], of[-1])
    page.get_by_role("button", name="Launch 4 days").click()
    row = row_of(page, of[0], of[-1])
    expect(state_of(row)).to_have_text("Failed")
    expect(row.get_by_text("1 of 4 days failed: 2025-11-10.")).to_be_visible()

    row.get_by_role("link", name="events 2025").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2025-11-08 → 2025-11-11")
    table = page.get_by_role("table").first
    expect(table.get_by_role("row", name=re.compile("2025-11-10.*Failed"))).to_be_visible()
    expect(table.get_by_text("violates check constraint")).to_be_visible()

    stack.mend("events", of[2])
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry 1 day").click()
    # Dagster takes seconds to start a run; until then nobody is to wonder whether they clicked.
    expect(page.get_by_text(re.compile("^(S|.*s)tarting")).first).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    expect(table.get_by_role("row", name=re.compile("2025-11-10.*Success"))).to_be_visible()
    expect(table.get_by_text("Failed")).to_have_count(0)
    page.get_by_text("1 earlier attempt, done again since").click()
    earlier = page.get_by_role("table").last.get_by_role("row", name="2025-11-10 Mon Failed")
    expect(earlier).to_contain_text("local, API")  # who asked for it
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuetext", "4 days")
    (record,) = _records(stack, "events", of[0], of[-1])
    assert (record["status"], record["error_message"]) == ("success", None)
    assert stack.differing_days("events", of) == []


def test_a_batch_is_cancelled_once_that_is_confirmed(visit: Open, stack: Stack) -> None:
    of = days(date(2025, 11, 13), 8)
    stack.pause("orders", of, 2)
    page = visit("/sync-status")
    fill_in(page, "orders", of[0], of[-1])
    page.get_by_role("button", name="Launch 8 days").click()
    row = row_of(page, of[0], of[-1])
    expect(row.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "0")

    row.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Let it run").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(state_of(row)).to_have_text("Syncing")
    row.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the batch").click()

    expect(state_of(row)).to_have_text("Failed")
    expect(row).to_contain_text("cancelled by local over the API")
    expect(page.get_by_text("Cancelled by local: orders 2025-11-13 → 2025-11-20")).to_be_visible()
    expect(row.get_by_role("button", name="Retry")).to_be_visible()
    (record,) = _records(stack, "orders", of[0], of[-1])
    assert record["status"] == "failed"
    assert 0 < record["success_count"] < len(of)
    assert stack.differing_days("orders", of[: record["success_count"]]) == []


def test_what_cannot_be_launched_is_said_beside_the_field_it_is_about(visit: Open) -> None:
    page = visit("/sync-status")
    fill_in(page, "events", date(2025, 12, 20), date(2026, 1, 2))
    said = page.get_by_text("events goes to 2025-12-31 so far; end there or earlier.")
    expect(said).to_be_visible()
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_label("to", exact=True)).to_be_focused()
    expect(page.get_by_label("to", exact=True)).to_have_attribute("aria-invalid", "true")
    described = page.get_by_label("to", exact=True).get_attribute("aria-describedby")
    expect(page.locator(f"[id='{described}']")).to_contain_text("end there or earlier")
    page.get_by_label("to", exact=True).fill("2025-12-31")
    expect(said).to_have_count(0)


def test_what_is_wrong_with_no_field_of_its_own_is_read_out(visit: Open) -> None:
    page = visit("/sync-status")
    refusal = {"title": "Too Many Requests", "status": 429, "detail": "wait 7 s"}
    page.route("**/sync-status/sync/batch", lambda route: route.fulfill(status=429, json=refusal))
    fill_in(page, "events", date(2025, 11, 28), date(2025, 11, 29))
    page.get_by_role("button", name="Launch 2 days").click()
    expect(page.get_by_role("alert")).to_have_text("Too many requests: wait 7 s")


def test_days_that_are_in_are_skipped_and_that_is_said_before(visit: Open, stack: Stack) -> None:
    of = days(date(2025, 11, 22), 3)
    page = visit("/sync-status")
    fill_in(page, "events", of[1], of[1])
    page.get_by_role("button", name="Launch 1 day").click()
    expect(state_of(row_of(page, of[1], of[1]))).to_have_text("Success")

    fill_in(page, "events", of[0], of[-1])
    expect(page.get_by_text("2 days to sync")).to_be_visible()
    expect(page.get_by_text("1 is in already and will be skipped")).to_be_visible()
    page.get_by_label("days already in").select_option("are done again")
    expect(page.get_by_text("3 days to sync")).to_be_visible()
    page.get_by_label("days already in").select_option("are skipped")
    page.get_by_role("button", name="Launch 2 days").click()
    row = row_of(page, of[0], of[-1])
    expect(state_of(row)).to_have_text("Success")
    expect(row.get_by_text("3 days, 1 skipped")).to_be_visible()
    assert stack.differing_days("events", of) == []


def fill_in(page: Page, dataset: str, first: date, last: date) -> None:
    """Fill in the form that launches."""
    form = page.get_by_role("form", name="Launch a batch")
    form.get_by_label("Sync").select_option(dataset)
    form.get_by_label("from", exact=True).fill(str(first))
    form.get_by_label("to", exact=True).fill(str(last))


def row_of(page: Page, first: date, last: date) -> Locator:
    """The row of the latest batch over these days."""
    text = str(first) if first == last else f"{first} → {last}"
    return page.get_by_role("row").filter(has_text=text).first


def state_of(row: Locator) -> Locator:
    return row.get_by_role("cell").first


def _values_until_full(bar: Locator, full: int) -> list[int]:
    """Every value that a progress bar was seen to have, until it is full."""
    deadline = time.monotonic() + PATIENCE_SECONDS
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
