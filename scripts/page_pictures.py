"""Take screenshots of the web page: the records, one record, the calendar and the sign-in form.

Some are in Chinese, and some are the size of a phone's screen. Called by `scripts/screenshots.py`.
Launches the rest of the year through the API and, once part of it is synced, locks the target table
so that the batch does not progress while the screenshots are taken.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from playwright.sync_api import Browser, Page, expect

from sync_pipeline.api.server import run_api
from sync_pipeline.cli.dev import Running
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import API_TOKENS, DAGSTER_WEBSERVER_URL, Settings
from sync_pipeline_tests.browser import chromium

_REST = {"start_date": "2013-03-01", "end_date": "2013-12-31"}
_PAUSE_AFTER_DAYS = 110
_FAILED_DAY = "2013-05-03"
_TIMEOUT_SECONDS = 120
_DESKTOP = {"width": 1440, "height": 900}
_PHONE = {"width": 360, "height": 740}
_TOKENS = f"ada:operator:{'0' * 64}"


def take_page_screenshots(settings: Settings, running: Running, folder: Path) -> None:
    """Save the screenshots of the web page in `folder`, with the data synced so far."""
    with chromium() as browser, _paused_batch(settings, running) as record:
        page = _open(browser, running, "/sync-status", viewport=_DESKTOP)
        expect(page.get_by_role("heading", level=1)).to_contain_text("1 batch running")
        _take(page, folder / "page.png")
        page = _open(browser, running, "/sync-status", viewport=_DESKTOP, locale="zh-CN")
        _take(page, folder / "page-chinese.png")
        page = _open(browser, running, record, viewport=_DESKTOP)
        page.locator(f'.day-map [data-day="{_FAILED_DAY}"]').hover()
        _take(page, folder / "page-record.png")
        page = _open(browser, running, "/sync-status/calendar", viewport=_DESKTOP)
        page.locator(f'[data-day="{_FAILED_DAY}"]').hover()
        expect(page.get_by_role("tooltip")).to_be_visible()
        _take(page, folder / "page-calendar.png", height=480)
        phone = {"viewport": _PHONE, "device_scale_factor": 2, "locale": "zh-CN"}
        page = _open(browser, running, "/sync-status", color_scheme="dark", **phone)
        _take(page, folder / "page-phone.png")
        page = _open(browser, running, record, **phone)
        _take(page, folder / "page-record-phone.png")
        page = _open(browser, running, "/sync-status/calendar", **phone)
        _take(page, folder / "page-calendar-phone.png")
        _screenshot_sign_in(browser, settings, running, folder / "page-sign-in.png")


def _screenshot_sign_in(browser: Browser, settings: Settings, running: Running, path: Path) -> None:
    extra = {DAGSTER_WEBSERVER_URL: running.dagster.url, API_TOKENS: _TOKENS}
    with run_api(settings, free_port(0), **extra) as guarded:
        page = browser.new_page(viewport={"width": 900, "height": 400}, locale="en-US")
        page.goto(f"{guarded.url}/sync-status")
        expect(page.get_by_label("Token")).to_be_visible()
        _take(page, path)


@contextmanager
def _paused_batch(settings: Settings, running: Running) -> Iterator[str]:
    """Launch the rest of the year, pause it partway through, and yield the path of its record."""
    launched = _call(running, "/sync-status/sync/batch", _REST)
    path = f"/sync-status/{launched['record_id']}"
    _wait(lambda: _call(running, path)["record"]["success_count"] >= _PAUSE_AFTER_DAYS)
    with closing(psycopg2.connect(settings.database_url)) as target, target.cursor() as cursor:
        cursor.execute("LOCK TABLE flights")
        yield path
    _wait(lambda: _call(running, path)["record"]["status"] != "syncing")


def _call(running: Running, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310  HTTP, to our own API
        f"{running.api.url}/api/v1{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        data: dict[str, Any] = json.load(response)["data"]
    return data


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"the batch did not progress far enough within {_TIMEOUT_SECONDS} s")
        time.sleep(0.02)


def _open(browser: Browser, running: Running, path: str, **options: Any) -> Page:
    defaults = {"locale": "en-US", "timezone_id": "UTC", "color_scheme": "light"}
    page = browser.new_context(base_url=running.api.url, **{**defaults, **options}).new_page()
    page.goto(path)
    expect(page.get_by_role("main")).to_have_attribute("aria-busy", "false")
    return page


def _take(page: Page, path: Path, height: int | None = None) -> None:
    size = page.viewport_size or _DESKTOP
    clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
    page.screenshot(path=path, clip=clip, animations="disabled")  # type: ignore[arg-type]
