"""The coverage calendar: what is in is seen, and days selected on it are launched.

These tests' days are those of December.
"""

import re
from datetime import date

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.stack_project import Stack, days

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# A tab that was left, and is shown again as it was, has to read everything.
COME_BACK = """for (const name of ["pagehide", "pageshow"])
    window.dispatchEvent(new PageTransitionEvent(name, { persisted: true }))"""


def test_days_dragged_over_are_launched_and_their_squares_turn(visit: Open, stack: Stack) -> None:
    of = days(date(2025, 12, 1), 5)
    stack.spoil("orders", of[3])
    page = visit("/sync-status/calendar")
    expect(square(page, "orders", of[0])).to_have_class(re.compile("missing"))
    square(page, "orders", of[0]).hover()
    page.mouse.down()
    square(page, "orders", of[2]).hover()
    square(page, "orders", of[4]).hover()
    page.mouse.up()

    expect(page.get_by_text("5 days selected: 5 missing")).to_be_visible()
    page.get_by_role("button", name="Launch 5 days").click()
    for day in (*of[:3], of[4]):
        expect(square(page, "orders", day)).to_have_class(re.compile("success"))
    expect(square(page, "orders", of[3])).to_have_class(re.compile("failed"))
    expect(square(page, "orders", of[0])).to_have_accessible_name(
        re.compile("Monday, December 1, 2025.*Success.*20 rows")
    )
    expect(page.get_by_role("button", name="2025-12-04 Failed")).to_be_visible()

    square(page, "orders", of[3]).hover()
    expect(page.get_by_role("tooltip")).to_contain_text("violates check constraint")
    square(page, "orders", of[3]).click()
    page.wait_for_url(re.compile(r"/sync-status/\d+$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("2025-12-04")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_days_are_selected_with_the_keyboard_alone(visit: Open, stack: Stack) -> None:
    page = visit("/sync-status/calendar?dataset=events")
    square(page, "events", date(2025, 12, 10)).focus()
    for key in ("ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(square(page, "events", date(2025, 12, 19))).to_be_focused()
    selected = page.locator('[aria-selected="true"]')
    expect(selected).to_have_count(9)
    expect(page.get_by_label("from", exact=True)).to_have_value("2025-12-11")
    expect(page.get_by_label("to", exact=True)).to_have_value("2025-12-19")
    page.keyboard.press("Escape")
    expect(selected).to_have_count(0)
    page.keyboard.press("Space")
    expect(selected).to_have_count(1)
    page.get_by_role("button", name="Launch 1 day").press("Enter")
    expect(square(page, "events", date(2025, 12, 19))).to_have_class(re.compile("success"))
    assert stack.differing_days("events", [date(2025, 12, 19)]) == []


def test_the_focus_stays_on_its_day_while_the_calendar_is_read_anew(visit: Open) -> None:
    page = visit("/sync-status/calendar?dataset=events")
    square(page, "events", date(2025, 12, 10)).focus()
    held: list[Route] = []
    page.route("**/sync-status/coverage*", lambda route: held.append(route))
    page.evaluate(COME_BACK)
    wait_until(
        lambda: page.evaluate("true") and held
    )  # the browser tells only when it is spoken to
    before = square(page, "events", date(2025, 12, 10)).element_handle()
    page.keyboard.press("ArrowDown")
    for route in held:
        route.continue_()
    page.wait_for_function("(square) => !square.isConnected", arg=before)
    expect(square(page, "events", date(2025, 12, 11))).to_be_focused()


def test_the_form_and_the_selection_follow_each_other(visit: Open) -> None:
    page = visit("/sync-status/calendar")
    square(page, "events", date(2025, 12, 21)).click()  # no record of it yet: it is selected
    square(page, "events", date(2025, 12, 24)).click(modifiers=["Shift"])
    expect(page.get_by_label("to", exact=True)).to_have_value("2025-12-24")
    page.get_by_label("to", exact=True).fill("2025-12-26")
    expect(page.locator('[aria-selected="true"]')).to_have_count(6)
    expect(page.get_by_text("6 days selected")).to_be_visible()


def test_a_finger_selects_days_one_after_the_other(visit: Open) -> None:
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
