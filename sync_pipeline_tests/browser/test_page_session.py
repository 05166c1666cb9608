"""Signing in to a server that requires tokens, and what each role may do.

The tests in this module use the first day of November.
"""

import hashlib
from collections.abc import Iterator
from datetime import date

import pytest
from playwright.sync_api import Page, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import Site, site_running
from sync_pipeline_tests.browser.test_page_batches import fill_in, row_of, state_of
from sync_pipeline_tests.browser.test_page_calendar import RESTORE_TAB
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

TOKENS = {"reader": "reading-is-allowed", "operator": "writing-is-allowed"}
DAY = date(2025, 11, 1)


@pytest.fixture(scope="module")
def guarded(stack: Stack) -> Iterator[Site]:
    entries = (
        f"{role}.person:{role}:{hashlib.sha256(token.encode()).hexdigest()}"
        for role, token in TOKENS.items()
    )
    with site_running(stack, SYNC_API_TOKENS=",".join(entries)) as site:
        yield site


def test_an_invalid_token_is_rejected_and_a_reader_cannot_launch(
    visit: Open, guarded: Site
) -> None:
    page = visit(f"{guarded.url}/sync-status")
    sign_in(page, "guessed")
    expect(page.get_by_text("Invalid token.")).to_be_visible()
    sign_in(page, TOKENS["reader"])
    expect(page.get_by_role("table", name="Records")).to_be_visible()
    expect(page.get_by_text("reader.person")).to_be_visible()
    expect(page.get_by_role("form", name="Launch a batch")).to_have_count(0)
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)


def test_an_operator_launches_under_their_name_and_signs_out(visit: Open, guarded: Site) -> None:
    page = visit(f"{guarded.url}/sync-status")
    sign_in(page, TOKENS["operator"])
    fill_in(page, "events", DAY, DAY)
    page.get_by_role("button", name="Sync 1 day").click()
    row = row_of(page, DAY, DAY)
    expect(row).to_contain_text("operator.person, API")
    expect(state_of(row)).to_have_text("Success")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()


def test_after_a_server_restart_the_page_asks_for_the_token_again(
    visit: Open, guarded: Site
) -> None:
    page = visit(f"{guarded.url}/sync-status/calendar")
    sign_in(page, TOKENS["operator"])
    expect(page.get_by_role("region", name="events")).to_be_visible()
    guarded.stop()
    guarded.start()
    expect(page.get_by_label("Token")).to_be_visible()
    sign_in(page, TOKENS["operator"])
    expect(page.get_by_role("region", name="events")).to_be_visible()


def test_a_partly_typed_token_is_kept(visit: Open, guarded: Site) -> None:
    page = visit("about:blank")
    page.clock.install()
    page.goto(f"{guarded.url}/sync-status")
    token = page.get_by_label("Token")
    token.press_sequentially("half of")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate(RESTORE_TAB)
    page.evaluate("""window.dispatchEvent(new Event("online"));
        document.dispatchEvent(new Event("visibilitychange"))""")
    page.clock.fast_forward("30:00")
    page.evaluate("fetch('/healthz')")
    assert [url for url in requests if "/api/" in url] == []
    expect(token).to_have_value("half of")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_label("令牌")).to_have_value("half of")


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
