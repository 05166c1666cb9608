"""A real Chromium, the one this machine has: for the tests here and for scripts/screenshots.py."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # root in a container may not make one; it only ever opens our own pages
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_MILLISECONDS = 120_000  # a busy machine


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a Chromium for as long as the block lasts. Raises FileNotFoundError if there is none.

    Playwright keeps an event loop running in this thread meanwhile: `asyncio.run` is refused.
    """
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        raise FileNotFoundError(
            f"no Chromium on the PATH (looked for {', '.join(_NAMES)}); "
            "install it, on Debian: apt-get install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=_ARGUMENTS, timeout=_START_MILLISECONDS
        )
        try:
            yield browser
        finally:
            browser.close()
