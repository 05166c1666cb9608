"""The browser tests, and the Chromium instance used by them and by scripts/screenshots.py."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

# The headless shell, which is also Playwright's own choice, uses about 40 percent less CPU time.
_EXECUTABLES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # the sandbox fails for root in a container; only our own pages are opened
    "--disable-gpu",
    "--disable-gpu-rasterization",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_TIMEOUT_MILLISECONDS = 120_000  # long enough for a busy machine


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium during the block. Raises FileNotFoundError if it is not installed.

    During the block, `asyncio.run` fails in this thread, because Playwright runs an event loop.
    """
    path = next(filter(None, map(shutil.which, _EXECUTABLES)), None)
    if path is None:
        raise FileNotFoundError(
            f"Chromium not found on the PATH (tried {', '.join(_EXECUTABLES)}); "
            "install it, for example with: apt-get install chromium-headless-shell"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=_ARGUMENTS, timeout=_START_TIMEOUT_MILLISECONDS
        )
        try:
            yield browser
        finally:
            browser.close()
