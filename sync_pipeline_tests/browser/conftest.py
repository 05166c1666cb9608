"""A page of a real Chromium for each test; what it showed is kept if the test fails."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from sync_pipeline_tests.browser import chromium
from sync_pipeline_tests.stack_project import Stack

PATIENCE_MILLISECONDS = 60_000
_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def page(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path) -> Iterator[Page]:
    """A page whose relative addresses are those of the Dagster UI.

    When the test fails, a picture and a trace (`playwright show-trace`) are left in `tmp_path`.
    """
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as browser:
        context = browser.new_context(
            base_url=stack.dagster.url,
            locale="en-US",
            timezone_id="UTC",
            viewport={"width": 1440, "height": 900},
        )
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        context.tracing.start(screenshots=True, snapshots=True)
        opened = context.new_page()
        yield opened
        failed = request.node.stash.get(_FAILED, False)
        if failed:
            opened.screenshot(path=tmp_path / "page.png")
        context.tracing.stop(path=tmp_path / "trace.zip" if failed else None)
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
