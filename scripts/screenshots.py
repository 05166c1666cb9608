"""Make the pictures of docs/images anew: `make screenshots`.

It starts a stack of its own in a temporary folder, with the demo's flights. January goes in by the
batch job. Then the target is told to refuse a flight that leaves 14 hours late, as there was one
on 10 February, and all of February is launched as a backfill: 27 days go in and one fails. The
page's own pictures are in scripts/page_pictures.py.
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
from sync_pipeline.cli.dev import everything_running
from sync_pipeline.cli.render import failed_days_table, record_table
from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.local.demo_data import DATASET
from sync_pipeline.local.stack import databases
from sync_pipeline.settings import DATA_DIR, PROJECT_ROOT, Settings
from sync_pipeline.tracking.connection import read_tracking
from sync_pipeline.tracking.read import reports
from sync_pipeline_tests.browser import chromium

IMAGES = PROJECT_ROOT / "docs" / "images"
WIDTH, HEIGHT = 1440, 900
FEBRUARY = [date(2013, 2, 1) + timedelta(days=n) for n in range(28)]
FAILING = date(2013, 2, 10)
_REFUSE = "ALTER TABLE flights ADD CHECK (dep_delay < 14 * 60) NOT VALID"
_PATIENCE_SECONDS = 300
_BACKFILL = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""
# An image may not load a font from elsewhere: the reader's own monospaced one has to do.
_SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main() -> None:
    """Make every picture."""
    # So that the server and the folder of one that is ended go as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        databases(_of_its_own(folder), with_source=True) as settings,
        everything_running(settings, 0, 0) as running,
    ):
        backfill = _sync(running.dagster, settings)
        _picture_terminal(settings, backfill)
        _picture_pages(running.dagster, backfill)
        take_page_screenshots(settings, running, IMAGES)
    for picture in sorted(IMAGES.iterdir()):
        print(f"{picture.relative_to(PROJECT_ROOT)}: {picture.stat().st_size / 1000:.0f} kB")


def _of_its_own(folder: str) -> Settings:
    """Return settings that know this machine's programs and the folder, and nothing else."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return Settings({**kept, DATA_DIR: folder})


def _sync(dagster: Dagster, settings: Settings) -> str:
    """Sync January, then February with its one failing day; return the backfill's id."""
    request = {"start_date": "2013-01-01", "end_date": "2013-01-31"}
    run_id = dagster.launch_job("batch_backfill", config=request)
    _wait(lambda: dagster.run_status(run_id) == "SUCCESS")
    with (
        closing(psycopg2.connect(settings.database_url)) as target,
        target,
        target.cursor() as cursor,
    ):
        cursor.execute(_REFUSE)
    backfill = dagster.launch_backfill(FEBRUARY, asset=DATASET)
    _wait(lambda: _backfill_status(dagster, backfill) == "COMPLETED_FAILED")
    return backfill


def _backfill_status(dagster: Dagster, backfill: str) -> str:
    answer = dagster.graphql(_BACKFILL, {"id": backfill})
    return str(answer["partitionBackfillOrError"]["status"])


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not until():
        if time.monotonic() > deadline:
            raise SystemExit(
                f"no picture: what it should show is not there in {_PATIENCE_SECONDS} s"
            )
        time.sleep(0.5)


def _picture_terminal(settings: Settings, backfill: str) -> None:
    """Draw what `sync-pipeline status` prints of the backfill."""
    with read_tracking(settings) as cursor:
        batch = reports.progress(cursor, backfill)
        if batch is None or (batch.success_count, batch.failed_count) != (27, 1):
            raise SystemExit(f"no picture: 27 days in and 1 failed was to be seen, not {batch}")
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


def _picture_pages(dagster: Dagster, backfill: str) -> None:
    with chromium() as browser:
        page = browser.new_page(
            base_url=dagster.url,
            locale="en-US",
            timezone_id="UTC",
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=1,
        )
        _picture_backfill(page, backfill)
        _picture_partitions(page)


def _picture_backfill(page: Page, backfill: str) -> None:
    page.goto(f"/runs/b/{backfill}")
    expect(page.get_by_text("100% completed")).to_be_visible()
    _take(page, "backfill.png", height=340)  # the rest of the page is empty


def _picture_partitions(page: Page) -> None:
    selected = "[2013-01-01...2013-02-28]"
    page.goto(f"/assets/{DATASET}?view=partitions&default_range={selected}&partition={FAILING}")
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    expect(page.get_by_text("Materialized (58)")).to_be_visible()
    expect(page.get_by_text("did not materialize this asset")).to_be_visible()
    page.get_by_text("2013-02-12").filter(visible=True).hover()
    page.mouse.wheel(0, 216)  # six days on, which brings the failed one up among the others
    _take(page, "asset-partitions.png", height=728)


def _take(page: Page, name: str, *, height: int) -> None:
    page.mouse.move(WIDTH - 1, HEIGHT - 1)  # nothing is to look hovered over
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)  # what moves comes to rest
    page.screenshot(
        path=IMAGES / name,
        clip={"x": 0, "y": 0, "width": WIDTH, "height": height},
        animations="disabled",
    )


if __name__ == "__main__":
    main()
