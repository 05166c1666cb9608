"""The coverage calendar: it shows which days are synced and launches syncs of selected days.

The tests in this module use days in December.
"""

import re
from datetime import date

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.command import run
from sync_pipeline_tests.stack_project import Stack, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# A tab restored from the back/forward cache must load everything again.
RESTORE_TAB = """for (const name of ["pagehide", "pageshow"])
    window.dispatchEvent(new PageTransitionEvent(name, { persisted: true }))"""


def test_dragging_selects_days_and_launching_updates_their_squares(
    visit: Open, stack: Stack
) -> None:
    batch_days = days(date(2025, 12, 1), 5)
    stack.spoil("orders", batch_days[3])
    page = visit("/sync-status/calendar")
    expect(square(page, "orders", batch_days[0])).to_have_class(re.compile("missing"))
    square(page, "orders", batch_days[0]).hover()
    page.mouse.down()
    square(page, "orders", batch_days[2]).hover()
    square(page, "orders", batch_days[4]).hover()
    page.mouse.up()

    expect(page.get_by_text("5 days selected: 5 missing")).to_be_visible()
    page.get_by_role("button", name="Sync 5 days").click()
    for day in (*batch_days[:3], batch_days[4]):
        expect(square(page, "orders", day)).to_have_class(re.compile("success"))
    expect(square(page, "orders", batch_days[3])).to_have_class(re.compile("failed"))
    expect(square(page, "orders", batch_days[0])).to_have_accessible_name(
        re.compile("Monday, December 1, 2025.*Success.*20 rows")
    )
    expect(page.get_by_role("button", name="2025-12-04 Failed")).to_be_visible()

    square(page, "orders", batch_days[3]).hover()
    expect(page.get_by_role("tooltip")).to_contain_text("violates check constraint")
    square(page, "orders", batch_days[3]).click()
    page.wait_for_url(re.compile(r"/sync-status/\d+$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("2025-12-04")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_synced_day_whose_latest_attempt_failed_shows_its_rows_and_not_a_gap(
    visit: Open, stack: Stack
) -> None:
    day = date(2025, 12, 26)
    environment = stack.settings.environment
    assert run(environment, "backfill", "orders", day, day).code == 0
    stack.spoil("orders", day)
    try:
        assert run(environment, "backfill", "orders", day, day, "--resync").code == 1
        page = visit("/sync-status/calendar?dataset=orders")
        expect(square(page, "orders", day)).to_have_class(re.compile("resync_failed"))
        expect(square(page, "orders", day)).to_have_accessible_name(
            re.compile("Synced, last attempt failed.*20 rows loaded on .* remain")
        )
        expect(page.get_by_role("button", name=f"{day} Failed")).to_have_count(0)
        square(page, "orders", day).click()
        page.wait_for_url(re.compile(r"/sync-status/\d+$"))
        progress = page.get_by_role("region", name="Progress")
        expect(progress).to_contain_text(re.compile("20 rows loaded on .* remain"))
    finally:
        stack.repair("orders", day)


def test_days_can_be_selected_with_the_keyboard_only(visit: Open, stack: Stack) -> None:
    page = visit("/sync-status/calendar?dataset=events")
    square(page, "events", date(2025, 12, 10)).focus()
    for key in ("ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(square(page, "events", date(2025, 12, 19))).to_be_focused()
    selected = page.locator('[aria-selected="true"]')
    expect(selected).to_have_count(9)
    expect(page.get_by_label("First day")).to_have_value("2025-12-11")
    expect(page.get_by_label("Last day")).to_have_value("2025-12-19")
    page.keyboard.press("Escape")
    expect(selected).to_have_count(0)
    page.keyboard.press("Space")
    expect(selected).to_have_count(1)
    page.get_by_role("button", name="Sync 1 day").press("Enter")
    expect(square(page, "events", date(2025, 12, 19))).to_have_class(re.compile("success"))
    assert stack.differing_days("events", [date(2025, 12, 19)]) == []


def test_the_focused_day_keeps_the_focus_while_the_calendar_reloads(visit: Open) -> None:
    page = visit("/sync-status/calendar?dataset=events")
    square(page, "events", date(2025, 12, 10)).focus()
    held: list[Route] = []
    page.route("**/sync-status/coverage*", lambda route: held.append(route))
    page.evaluate(RESTORE_TAB)
    # Playwright handles events only while it waits for the browser.
    wait_until(lambda: page.evaluate("true") and held)
    before = square(page, "events", date(2025, 12, 10)).element_handle()
    page.keyboard.press("ArrowDown")
    for route in held:
        route.continue_()
    page.wait_for_function("(square) => !square.isConnected", arg=before)
    expect(square(page, "events", date(2025, 12, 11))).to_be_focused()


def test_the_form_and_the_selection_stay_in_sync(visit: Open) -> None:
    page = visit("/sync-status/calendar")
    square(page, "events", date(2025, 12, 21)).click()  # selected, as there is no record to open
    square(page, "events", date(2025, 12, 24)).click(modifiers=["Shift"])
    expect(page.get_by_label("Last day")).to_have_value("2025-12-24")
    page.get_by_label("Last day").fill("2025-12-26")
    expect(page.locator('[aria-selected="true"]')).to_have_count(6)
    expect(page.get_by_text("6 days selected")).to_be_visible()


def test_two_taps_select_a_range_of_days(visit: Open) -> None:
    page = visit(
        "/sync-status/calendar?dataset=events",
        viewport={"width": 360, "height": 740},
        has_touch=True,
    )
    page.get_by_role("button", name="Select days").tap()
    square(page, "events", date(2025, 12, 27)).tap()
    square(page, "events", date(2025, 12, 30)).tap()
    expect(page.get_by_text("4 days selected")).to_be_visible()


def square(page: Page, dataset: str, day: date) -> Locator:
    return page.get_by_role("region", name=dataset).locator(f'[data-day="{day}"]')
