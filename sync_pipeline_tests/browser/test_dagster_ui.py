"""Launch batches in the Dagster UI as a user does, then check the records in the database.

The whole stack is real. The timeouts are long because Dagster takes seconds to start each run. The
tests in this module use days in September and October.
"""

import re
import time
from datetime import date
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

TIMEOUT_SECONDS = 360
DAY_SECONDS = 0.5  # each day takes this long, so that the test can see the record while it is open


def test_a_backfill_launched_in_the_ui_is_recorded_and_materializes_its_days(
    page: Page, stack: Stack
) -> None:
    batch_days = days(date(2025, 9, 1), 5)
    stack.pause("orders", batch_days, DAY_SECONDS)
    key = _launch_backfill(page, "orders", "[2025-09-01...2025-09-05]", len(batch_days))

    seen = _states_until(stack, key, "success")
    opened, record = seen[0], stack.batch(key)
    assert (opened["status"], opened["success_count"]) == ("syncing", 0)
    assert opened["remarks"] == "批量同步: 2025-09-01 至 2025-09-05, 共5天"
    assert (record["status"], record["dataset"]) == ("success", "orders")
    assert (record["start_date"], record["end_date"]) == (batch_days[0], batch_days[-1])
    assert _counts(record) == (5, 5, 0, 0)
    assert record["total_records"] == 5 * ROWS_PER_DAY
    assert stack.differing_days("orders", batch_days) == []

    expect(page.get_by_text("100% completed")).to_be_visible(timeout=TIMEOUT_SECONDS * 1000)
    page.get_by_role("link", name="orders").click()
    page.get_by_role("tab", name="Partitions").click()
    _select_partitions(page, "[2025-09-01...2025-09-06]")
    for state in ("Materialized (5)", "Failed (0)", "Missing (1)"):
        expect(page.get_by_text(state)).to_be_visible()
    page.get_by_text("2025-09-03").filter(visible=True).click()
    expect(page.get_by_role("row", name=re.compile(f"^rows {ROWS_PER_DAY}"))).to_be_visible()


def test_a_batch_launched_from_the_launchpad_skips_synced_days(page: Page, stack: Stack) -> None:
    batch_days = days(date(2025, 10, 1), 5)
    first = _launch_batch_job(page, "2025-10-02", "2025-10-03")
    _states_until(stack, first, "success")
    before = stack.rows_of("events", batch_days[1])
    stack.source("UPDATE events_rows SET amount = amount + 1 WHERE day = %s", [batch_days[1]])

    second = _launch_batch_job(page, "2025-10-01", "2025-10-05")
    _states_until(stack, second, "success")
    record = stack.batch(second)
    assert (record["status"], record["dataset"]) == ("success", "events")
    assert _counts(record) == (5, 3, 0, 2)
    assert record["total_records"] == 3 * ROWS_PER_DAY
    assert "共5天, 成功3, 失败0, 跳过2" in record["remarks"]
    assert stack.rows_of("events", batch_days[1]) == before  # skipped, so not read from the source
    assert stack.differing_days("events", batch_days) == [batch_days[1]]
    expect(page.get_by_text("Success", exact=True)).to_be_visible()


def test_a_failed_run_names_the_day_and_a_re_execution_completes_the_same_record(
    page: Page, stack: Stack
) -> None:
    batch_days = days(date(2025, 10, 11), 5)
    stack.spoil("events", batch_days[2])
    key = _launch_batch_job(page, "2025-10-11", "2025-10-15")

    _states_until(stack, key, "failed")
    record = stack.batch(key)
    assert _counts(record) == (5, 4, 1, 0)
    assert record["error_message"].startswith("1 of 5 days failed: 2025-10-13.")
    assert stack.differing_days("events", batch_days) == [batch_days[2]]
    expect(page.get_by_text("Failure", exact=True)).to_be_visible()
    message = page.get_by_text("1 of 5 days failed: 2025-10-13").filter(visible=True)
    expect(message.first).to_contain_text("violates check constraint")

    stack.repair("events", batch_days[2])
    _re_execute_from_failure(page)
    _states_until(stack, key, "success")
    record = stack.batch(key)
    assert (_counts(record), record["error_message"]) == ((5, 5, 0, 0), None)
    states = [attempt["state"] for attempt in stack.attempts(record["id"])]
    assert states == ["success", "success", "failed", "success", "success", "success"]
    assert stack.differing_days("events", batch_days) == []


def _launch_backfill(page: Page, asset: str, partitions: str, count: int) -> str:
    """Launch a backfill from the asset's page; open the backfill's page and return its ID."""
    page.goto(f"/assets/{asset}")
    page.get_by_role("button", name="Materialize…").click()
    _select_partitions(page, partitions)
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(f"{count} partitions")).to_be_visible()
    dialog.get_by_role("button", name="Launch backfill").click()
    expect(page.get_by_text("Created backfill")).to_be_visible()
    page.get_by_text("View", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/b/\w+"))
    return _last_part_of(page.url)


def _select_partitions(page: Page, partitions: str) -> None:
    page.get_by_placeholder("ex: 2025-01-01").click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type(partitions)
    page.keyboard.press("Enter")


def _launch_batch_job(page: Page, start: str, end: str) -> str:
    """Launch the batch job for `events` from its launchpad; return the run's ID."""
    page.goto("/jobs")
    page.get_by_role("link", name="batch_backfill").click()
    page.get_by_role("tab", name="Launchpad").click()
    page.locator(".CodeMirror").first.click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("Delete")
    # The dates are unquoted, as users type them.
    page.keyboard.type(f"start_date: {start}\nend_date: {end}\ndataset: events", delay=10)
    page.keyboard.press("Escape")  # closes the completion menu if it is open
    expect(page.get_by_text("No errors")).to_be_visible()
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    return _last_part_of(page.url)


def _re_execute_from_failure(page: Page) -> None:
    """On a failed run's page, re-execute the run from failure."""
    button = page.get_by_role("button", name=re.compile("^Re-execute"))
    button.locator("xpath=following::button[1]").click()  # the arrow next to the button
    page.get_by_role("menuitem", name="From failure").click()


def _last_part_of(url: str) -> str:
    return url.split("?")[0].rstrip("/").rsplit("/", 1)[1]


def _states_until(stack: Stack, key: str, status: str) -> list[dict[str, Any]]:
    """Poll the batch's record until it has this status; return the distinct versions seen."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["status"] != status:
        assert time.monotonic() < deadline, f"batch {key} is not {status} yet: {seen[-1:]}"
        seen += [row for row in stack.batches(key) if row not in seen]
        time.sleep(0.05)
    return seen


def _counts(record: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return the numbers of all, synced, failed and skipped days."""
    names = ("total_days", "success_count", "failed_count", "skipped_count")
    total, success, failed, skipped = (record[name] for name in names)
    return total, success, failed, skipped
