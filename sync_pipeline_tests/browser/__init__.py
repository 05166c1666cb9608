"""The browser tests, and the installed Chromium that they and scripts/screenshots.py use."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # root cannot create one in a container; only our own pages are opened
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_TIMEOUT_MILLISECONDS = 120_000  # long enough for a busy machine


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium while the block is open. Raises FileNotFoundError if it is not installed.

    Playwright runs an event loop in this thread meanwhile, so `asyncio.run` fails.
    """
    path = next(filter(None, map(shutil.which, _EXECUTABLES)), None)
    if path is None:
        raise FileNotFoundError(
            f"no Chromium on the PATH (looked for {', '.join(_EXECUTABLES)}); "
            "install it, on Debian: apt-get install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=_ARGUMENTS, timeout=_START_TIMEOUT_MILLISECONDS
        )
        try:
            yield browser
        finally:
            browser.close()
