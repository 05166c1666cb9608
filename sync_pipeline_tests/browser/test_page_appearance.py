"""The page's languages, time zones, dark mode, small-screen layout, and accessibility."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.site import site_running
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_AXE = Path(__file__).parent / "axe" / "axe.min.js"
_SERIOUS = ("serious", "critical")
_INSERT_BATCH = """
INSERT INTO daily_sync_status
    (sync_date, status, remarks, error_message, dataset, start_time, end_time)
VALUES ('2024-06-05', 'failed', '批量同步: 2024-06-01 至 2024-06-10, 共10天', 'no connection',
        'orders', '2024-07-01 12:30+00', '2024-07-01 12:31+00') RETURNING id
"""


_INSERT_DAY = """
INSERT INTO daily_sync_status
    (sync_date, status, remarks, dataset, error_message, standing_rows, standing_since)
VALUES
    ('2024-06-20', 'failed', '单日同步失败: no connection', 'orders', 'no connection', NULL, NULL),
    ('2024-06-21', 'failed', '单日同步失败: no connection', 'orders', 'no connection', 300, now())
"""


_INSERT_RUNNING_BATCH = """
INSERT INTO daily_sync_status (sync_date, status, success_count, failed_count, remarks, dataset)
VALUES ('2024-06-15', 'syncing', 4, 1, '批量同步: 2024-06-11 至 2024-06-20, 共10天', 'orders')
RETURNING id
"""
_INSERT_ATTEMPTS = """
INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, attempt, superseded, rows_read,
    rows_loaded, rows_rejected, bytes, error_message, run_id, triggered_by, started_at, ended_at)
SELECT 'orders', '2024-06-11'::date + n, %s, state,
    CASE WHEN state NOT IN ('pending', 'skipped') THEN 2 - superseded::int END, superseded,
    CASE state WHEN 'success' THEN 1234567 ELSE 0 END,
    CASE state WHEN 'success' THEN 1234500 ELSE 0 END,
    CASE state WHEN 'success' THEN 67 ELSE 0 END, 123456789,
    CASE state WHEN 'failed' THEN 'psycopg2.errors.CheckViolation: new row for relation '
        '"orders" violates check constraint "orders_amount_check" in column amount' END,
    '0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f', 'a.rather.long.name.of.a.person, API',
    CASE WHEN state NOT IN ('pending', 'skipped') THEN now() END,
    CASE WHEN state NOT IN ('pending', 'syncing') THEN now() END
FROM (VALUES (0, 'failed', true), (0, 'success', false), (1, 'success', false),
    (2, 'skipped', false), (3, 'success', false), (4, 'failed', false), (5, 'success', false),
    (6, 'syncing', false), (7, 'pending', false), (8, 'pending', false), (9, 'pending', false)
) AS attempt (n, state, superseded)
"""


@pytest.fixture(scope="module")
def paths(stack: Stack) -> Iterator[list[str]]:
    """The path to each kind of view; the last view shows a running batch."""
    stack.target(_INSERT_DAY)
    (failed,), (running,) = stack.target(_INSERT_BATCH), stack.target(_INSERT_RUNNING_BATCH)
    stack.target(_INSERT_ATTEMPTS, [running["id"]])
    yield [
        "/sync-status?kind=all",
        f"/sync-status/{failed['id']}",
        "/sync-status/calendar?dataset=orders",
        "/sync-status/99999999",
        f"/sync-status/{running['id']}",
    ]
    stack.target("DELETE FROM daily_sync_status WHERE id = %s", [running["id"]])


@pytest.mark.parametrize(
    ("scheme", "locale", "missing", "launch"),
    [("light", "en-US", "Missing", "Launch a batch"), ("dark", "zh-CN", "缺失", "发起补数")],
)
@pytest.mark.parametrize("width", [1440, 360])
def test_axe_finds_nothing_serious(
    visit: Open,
    paths: list[str],
    scheme: str,
    locale: str,
    missing: str,
    launch: str,
    width: int,
) -> None:
    options = {"color_scheme": scheme, "locale": locale}
    page = visit("about:blank", viewport={"width": width, "height": 800}, **options)
    for path in paths:
        _go(page, path)
        if "calendar" in path:
            page.get_by_role("button", name=missing).first.click()
            expect(page.get_by_role("form", name=launch)).to_be_visible()
        if page.locator("details:not([hidden])").count():
            page.locator("summary").click()
            expect(page.get_by_role("table")).to_have_count(2)
        assert _violations(page) == [], path


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-US"), ("dark", "zh-CN")])
def test_axe_finds_nothing_serious_on_the_sign_in_page(
    visit: Open, stack: Stack, scheme: str, locale: str
) -> None:
    entry = f"ada:reader:{'0' * 64}"
    with site_running(stack, SYNC_API_TOKENS=entry) as guarded:
        options = {"color_scheme": scheme, "locale": locale}
        page = visit(
            f"{guarded.url}/sync-status", viewport={"width": 360, "height": 740}, **options
        )
        expect(page.locator("#token")).to_be_focused()
        assert _violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_axe_finds_nothing_serious_in_a_dialog(visit: Open, paths: list[str]) -> None:
    page = _open_loaded(visit, "/sync-status?kind=day")
    page.get_by_role("button", name="Sync again").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert _violations(page) == []


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_no_view_is_wider_than_a_small_phone(visit: Open, paths: list[str], locale: str) -> None:
    page = visit("about:blank", locale=locale, viewport={"width": 360, "height": 740})
    for path in paths:
        _go(page, path)
        if page.locator("details:not([hidden])").count():
            page.locator("summary").click()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, path


def test_a_row_is_aligned_on_a_desktop_and_on_a_phone(visit: Open, paths: list[str]) -> None:
    page = _open_loaded(visit, "/sync-status", viewport={"width": 1280, "height": 800})
    row = page.get_by_role("row").filter(has_text="2024-06-01 → 2024-06-10").first
    assert abs(_box(row.locator(".days"))["y"] - _box(row.locator(".badge"))["y"]) < 10
    page.set_viewport_size({"width": 360, "height": 740})
    whole, time = _box(row), _box(row.get_by_role("time"))
    assert time["x"] + time["width"] == pytest.approx(whole["x"] + whole["width"], abs=1)


def test_light_and_dark_follow_the_system(visit: Open) -> None:
    page = _open_loaded(visit, "/sync-status", color_scheme="light")
    light = _brightness(page)
    page.emulate_media(color_scheme="dark")
    assert light > 230 > 60 > _brightness(page)


def test_the_language_is_the_browsers_until_the_user_changes_it(
    visit: Open, paths: list[str]
) -> None:
    page = _open_loaded(visit, paths[1], locale="zh-TW")
    expect(page.get_by_role("link", name="日历")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("link", name="Calendar")).to_be_visible()
    expect(page.get_by_role("button", name="English")).to_be_focused()
    remarks = page.get_by_text("批量同步: 2024-06-01 至 2024-06-10, 共10天")
    expect(remarks).to_have_attribute("lang", "zh-CN")  # remarks are not translated
    page.reload()
    expect(page.get_by_role("link", name="Calendar")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_text("批次", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2025-12-20", "2026-01-02", "orders 最新的业务日期是 2025-12-31。"),
        ("2024-12-20", "2025-01-02", "orders 最早的业务日期是 2025-01-01。"),
        ("2025-01-02", "2025-01-01", "结束日期早于开始日期。"),
    ],
)
def test_an_invalid_range_is_reported_in_the_users_language(
    visit: Open, first: str, last: str, message: str
) -> None:
    page = _open_loaded(visit, "/sync-status", locale="zh-CN")
    form = page.get_by_role("form", name="发起补数")
    form.get_by_label("数据集").select_option("orders")
    form.get_by_label("开始日期").fill(first)
    form.get_by_label("结束日期").fill(last)
    expect(form.get_by_text(message)).to_be_visible()


def test_a_problem_is_shown_in_the_users_language(visit: Open) -> None:
    page = _open_loaded(visit, "/sync-status/99999999", locale="zh-CN")
    expect(page.get_by_text("记录 99999999 不存在。")).to_be_visible()


def test_an_unknown_problem_code_is_shown_with_the_english_message(
    visit: Open,
) -> None:
    page = _open_loaded(visit, "/sync-status", locale="zh-CN")
    problem = {
        "status": 404,
        "code": "brand_new",
        "detail": "the moon is unavailable",
        "params": {},
    }
    page.route(
        "**/api/v1/sync-status/99999999",
        lambda route: route.fulfill(
            status=404, content_type="application/problem+json", json=problem
        ),
    )
    page.evaluate("window.history.pushState({}, '', '/sync-status/99999999')")
    page.evaluate("window.dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_text("找不到：")).to_be_visible()
    expect(page.get_by_text("the moon is unavailable")).to_have_attribute("lang", "en")


def test_both_languages_have_the_same_texts(visit: Open) -> None:
    page = _open_loaded(visit, "/sync-status")
    names = "async (file) => Object.keys((await import(file)).default)"
    assert page.evaluate(names, "/static/en.js") == page.evaluate(names, "/static/zh.js")


@pytest.mark.parametrize(
    ("zone", "time"),
    [("Pacific/Kiritimati", "July 2, 2024"), ("Pacific/Pago_Pago", "July 1, 2024")],
)
def test_times_are_in_the_users_time_zone_and_days_are_not_shifted(
    visit: Open, paths: list[str], zone: str, time: str
) -> None:
    page = _open_loaded(visit, paths[1], timezone_id=zone)
    expect(page.get_by_role("heading", level=1)).to_contain_text("2024-06-01 → 2024-06-10")
    expect(page.locator("time").first).to_contain_text(time)
    expect(page.get_by_text(zone)).to_be_visible()
    page.goto("/sync-status/calendar?dataset=orders")
    day = page.locator(f'[data-day="{date(2025, 12, 31)}"]')
    expect(day).to_have_accessible_name(re.compile("Wednesday, December 31, 2025"))


def test_the_filters_are_kept_in_the_url_and_restored_from_it(visit: Open) -> None:
    page = _open_loaded(visit, "/sync-status")
    filters = page.get_by_role("search")
    filters.get_by_label("Dataset").select_option("orders")
    filters.get_by_label("Search").fill("no connection")
    page.get_by_text("Failed", exact=True).first.click()
    expect(page.get_by_role("row").filter(has_text="no connection").first).to_be_visible()
    page.wait_for_url("**/sync-status?dataset=orders&status=failed&q=no+connection")
    page.get_by_role("link", name="orders 2024-06-01").first.click()
    expect(page.get_by_text("no connection").first).to_be_visible()
    page.go_back()
    expect(filters.get_by_label("Search")).to_have_value("no connection")
    expect(filters.get_by_label("Dataset")).to_have_value("orders")
    page.get_by_role("button", name="Clear").click()
    page.wait_for_url("**/sync-status")


def _open_loaded(visit: Open, path: str, **options: Any) -> Page:
    """Open a path and wait until it is loaded."""
    page = visit("about:blank", **options)
    _go(page, path)
    return page


def _go(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.get_by_role("main")).to_have_attribute("aria-busy", "false")


def _box(locator: Locator) -> Any:
    return locator.evaluate("element => element.getBoundingClientRect().toJSON()")


def _violations(page: Page) -> list[dict[str, Any]]:
    page.evaluate(_AXE.read_text())
    # The complete result would describe each element of the page, which takes seconds to transfer.
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)"
    )
    return [
        {"rule": each["id"], "html": [node["html"] for node in each["nodes"][:3]]}
        for each in found
        if each["impact"] in _SERIOUS
    ]


def _brightness(page: Page) -> float:
    color = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    numbers = [int(part) for part in color.strip("rgb()").split(",")]
    return sum(numbers) / len(numbers)
