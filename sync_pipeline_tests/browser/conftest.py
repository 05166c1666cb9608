"""A page of a real Chromium for each test; what it showed is kept if the test fails."""

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

PATIENCE_MILLISECONDS = 60_000
_FAILED = pytest.StashKey[bool]()

Open = Callable[..., Page]
"""Opens the page of a site in a browser of its own: its address, then what the browser is like."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here; each gets contexts of its own, which share nothing."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(
    request: pytest.FixtureRequest, browser: Browser, stack: Stack, tmp_path: Path
) -> Iterator[Page]:
    """A page whose relative addresses are those of the Dagster UI.

    When the test fails, a picture and a trace (`playwright show-trace`) are left in `tmp_path`.
    """
    with ExitStack() as opened:
        yield _open(browser, opened, request, tmp_path, base_url=stack.dagster.url)


@pytest.fixture(scope="package")
def stack(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack of this package's own, so that its tests choose their days by themselves."""
    with stack_project.stack(make_database, tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="package")
def site(stack: Stack) -> Iterator[Site]:
    """The server of the page, over the stack. A test that ends it starts it again."""
    with site_running(stack) as running:
        yield running


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, browser: Browser, site: Site, tmp_path: Path
) -> Iterator[Open]:
    """A function that opens an address of the site in a browser context of its own.

    What it takes beside the address is Playwright's, such as `locale` or `color_scheme`. A page
    that complains on its console, as of its Content-Security-Policy, fails the test.
    """
    complaints: list[str] = []
    with ExitStack() as opened:

        def open_address(address: str, **options: Any) -> Page:
            page = _open(browser, opened, request, tmp_path, base_url=site.url, **options)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda said: complaints.append(said.text) if "Policy" in said.text else None,
            )
            page.goto(address)
            return page

        yield open_address
    assert complaints == []


def _open(
    browser: Browser,
    opened: ExitStack,
    request: pytest.FixtureRequest,
    folder: Path,
    **options: Any,
) -> Page:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    usual = {"locale": "en-US", "timezone_id": "UTC", "viewport": {"width": 1440, "height": 900}}
    context = browser.new_context(**{**usual, **options})
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    context.tracing.start(snapshots=True)
    page = context.new_page()
    opened.callback(_close, context, page, request, folder / f"{len(browser.contexts)}")
    return page


def _close(context: BrowserContext, page: Page, request: pytest.FixtureRequest, name: Path) -> None:
    failed = request.node.stash.get(_FAILED, False)
    if failed:
        page.screenshot(path=name.with_suffix(".png"))
    context.tracing.stop(path=name.with_suffix(".zip") if failed else None)
    context.close()  # or the trace's own folder would stay


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on a failed test that it failed, for its fixtures to see."""
    report = yield
    if report.when == "call" and report.failed:
        item.stash[_FAILED] = True
    return report
