"""Recreate the screenshots in docs/images. Run by `make screenshots`.

Starts a temporary stack with the demo's flights and syncs January with the batch job. It then adds
a constraint to the target that rejects departures delayed by 14 hours or more (there is one, on 10
February) and launches February as a backfill: 27 days succeed and one fails. `page_pictures.py`
takes the screenshots of the web page.
"""

import io
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta

import psycopg2
from playwright.sync_api import Page, expect
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from scripts.page_pictures import take_page_screenshots
from sync_pipeline.cli.dev import run_everything
from sync_pipeline.cli.render import failed_days_table, record_table
from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.local.demo_data import DATASET
from sync_pipeline.local.stack import prepare_databases
from sync_pipeline.settings import DATA_DIR, PROJECT_ROOT, Settings
from sync_pipeline.tracking.connection import read_tracking
from sync_pipeline.tracking.read import reports
from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.browser import chromium

IMAGES = PROJECT_ROOT / "docs" / "images"
WIDTH, HEIGHT = 1440, 900
FEBRUARY = [date(2013, 2, 1) + timedelta(days=n) for n in range(28)]
FAILING = date(2013, 2, 10)
_ADD_CONSTRAINT = "ALTER TABLE flights ADD CHECK (dep_delay < 14 * 60) NOT VALID"
_TIMEOUT_SECONDS = 300
_BACKFILL = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""
# Images must not load fonts from other hosts, so use the viewer's monospaced font.
_SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main() -> None:
    """Create all screenshots."""
    # Raise SystemExit on SIGTERM, so that the stack is stopped and its folder is deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        prepare_databases(_isolated_settings(folder), with_source=True) as settings,
        run_everything(settings, 0, 0) as running,
    ):
        backfill = _sync(running.dagster, settings)
        _capture_terminal(settings, backfill)
        _capture_pages(running.dagster, backfill)
        take_page_screenshots(settings, running, IMAGES)
    for picture in sorted(IMAGES.iterdir()):
        print(f"{picture.relative_to(PROJECT_ROOT)}: {picture.stat().st_size / 1000:.0f} kB")


def _isolated_settings(folder: str) -> Settings:
    """Return settings that contain only the data folder and this machine's PATH, HOME and LANG."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return Settings({**kept, DATA_DIR: folder})


def _sync(dagster: Dagster, settings: Settings) -> str:
    """Sync January, then February with one failing day; return the backfill's ID."""
    request = {"start_date": "2013-01-01", "end_date": "2013-01-31"}
    run_id = dagster.launch_job("batch_backfill", config=request)
    _wait_until(lambda: dagster.run_status(run_id) == "SUCCESS")
    with (
        closing(psycopg2.connect(settings.database_url)) as target,
        target,
        target.cursor() as cursor,
    ):
        cursor.execute(_ADD_CONSTRAINT)
    backfill = launch_backfill(dagster, FEBRUARY, asset=DATASET)
    _wait_until(lambda: _backfill_status(dagster, backfill) == "COMPLETED_FAILED")
    return backfill


def _backfill_status(dagster: Dagster, backfill: str) -> str:
    response = dagster.graphql(_BACKFILL, {"id": backfill})
    return str(response["partitionBackfillOrError"]["status"])


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"the run or backfill did not end within {_TIMEOUT_SECONDS} s")
        time.sleep(0.5)


def _capture_terminal(settings: Settings, backfill: str) -> None:
    """Render the output of `sync-pipeline status` for the backfill."""
    with read_tracking(settings) as cursor:
        batch = reports.progress(cursor, backfill)
        if batch is None or (batch.success_count, batch.failed_count) != (27, 1):
            raise SystemExit(f"expected 27 synced days and 1 failed day, found {batch}")
        days = reports.days_of_batch(cursor, batch.id)
    console = Console(record=True, width=106, file=io.StringIO(), force_terminal=True)
    console.print(f"$ sync-pipeline status {backfill}", highlight=False)
    console.print(record_table(batch))
    console.print(failed_days_table(days))
    console.save_svg(
        str(IMAGES / "terminal.svg"),
        title="sync-pipeline status",
        code_format=_SVG,
        unique_id="status",
    )


def _capture_pages(dagster: Dagster, backfill: str) -> None:
    with chromium() as browser:
        page = browser.new_page(
            base_url=dagster.url,
            locale="en-US",
            timezone_id="UTC",
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=1,
        )
        _capture_backfill(page, backfill)
        _capture_partitions(page)


def _capture_backfill(page: Page, backfill: str) -> None:
    page.goto(f"/runs/b/{backfill}")
    expect(page.get_by_text("100% completed")).to_be_visible()
    _take(page, "backfill.png", height=340)  # the rest of the page is blank


def _capture_partitions(page: Page) -> None:
    selected = "[2013-01-01...2013-02-28]"
    page.goto(f"/assets/{DATASET}?view=partitions&default_range={selected}&partition={FAILING}")
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    expect(page.get_by_text("Materialized (58)")).to_be_visible()
    expect(page.get_by_text("did not materialize this asset")).to_be_visible()
    page.get_by_text("2013-02-12").filter(visible=True).hover()
    page.mouse.wheel(0, 216)  # scroll six days down to the failed day
    _take(page, "asset-partitions.png", height=728)


def _take(page: Page, name: str, *, height: int) -> None:
    page.mouse.move(WIDTH - 1, HEIGHT - 1)  # avoid hover effects
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)  # let animations finish
    page.screenshot(
        path=IMAGES / name,
        clip={"x": 0, "y": 0, "width": WIDTH, "height": height},
        animations="disabled",
    )


if __name__ == "__main__":
    main()
