"""Fixtures that open pages in Chromium and keep a screenshot if a test fails.

With BROWSER_TRACE=1 they also keep a trace (`playwright show-trace`), which takes a lot of time.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from sync_pipeline_tests import stack_project
from sync_pipeline_tests.browser import chromium
from sync_pipeline_tests.browser.site import Site, site_running
from sync_pipeline_tests.stack_project import Stack

TIMEOUT_MILLISECONDS = 60_000
_FAILED = pytest.StashKey[bool]()
_TRACED = bool(os.environ.get("BROWSER_TRACE"))

Open = Callable[..., Page]
"""Opens a path of the site in a new browser context; takes Playwright's context options."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A single Chromium instance for all browser tests; each test opens its own contexts in it."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(
    request: pytest.FixtureRequest, browser: Browser, stack: Stack, tmp_path: Path
) -> Iterator[Page]:
    """A page whose base URL is the Dagster UI.

    If the test fails, a screenshot is kept in `tmp_path`.
    """
    with ExitStack() as opened:
        yield _open(browser, opened, request, tmp_path, base_url=stack.dagster.url)


@pytest.fixture(scope="package")
def stack(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack used only by the browser tests, so that no other test uses the same days."""
    with stack_project.stack(make_database, tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="package")
def site(stack: Stack) -> Iterator[Site]:
    """The page's server, running on the stack. A test that stops it must start it again."""
    with site_running(stack) as running:
        yield running


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, browser: Browser, site: Site, tmp_path: Path
) -> Iterator[Open]:
    """A function that opens a path of the site in a new browser context.

    Options such as `locale` or `color_scheme` are passed to Playwright. JavaScript errors and
    Content-Security-Policy violations fail the test.
    """
    errors: list[str] = []
    with ExitStack() as opened:

        def open_path(path: str, **options: Any) -> Page:
            page = _open(browser, opened, request, tmp_path, base_url=site.url, **options)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on(
                "console",
                lambda message: errors.append(message.text) if "Policy" in message.text else None,
            )
            page.goto(path)
            return page

        yield open_path
    assert errors == []


def _open(
    browser: Browser,
    opened: ExitStack,
    request: pytest.FixtureRequest,
    folder: Path,
    **options: Any,
) -> Page:
    expect.set_options(timeout=TIMEOUT_MILLISECONDS)
    defaults = {
        "locale": "en-US",
        "timezone_id": "UTC",
        "viewport": {"width": 1440, "height": 900},
        "reduced_motion": "reduce",  # drawing animations in software takes much CPU time
    }
    context = browser.new_context(**{**defaults, **options})
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    if _TRACED:
        context.tracing.start(snapshots=True)
    page = context.new_page()
    opened.callback(_close, context, page, request, folder / f"{len(browser.contexts)}")
    return page


def _close(context: BrowserContext, page: Page, request: pytest.FixtureRequest, name: Path) -> None:
    failed = request.node.stash.get(_FAILED, False)
    if failed:
        page.screenshot(path=name.with_suffix(".png"))
    if _TRACED:
        context.tracing.stop(path=name.with_suffix(".zip") if failed else None)
    context.close()  # also deletes the trace's temporary folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mark failed tests so that their fixtures can keep screenshots and traces."""
    report = yield
    if report.when == "call" and report.failed:
        item.stash[_FAILED] = True
    return report
