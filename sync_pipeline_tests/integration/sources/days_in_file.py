"""Write a file that contains many days, and read one of them."""

import io
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat, Source
from sync_pipeline_tests.integration.sources.conftest import Syncing

THIRD_DAY = date(2025, 10, 3)


def keys(path: Path, **more: Any) -> dict[str, Any]:
    columns = None if path.suffix == ".parquet" else {"id": "bigint", "day": "date"}
    return {"type": "files", "path": str(path), "day_column": "day", "columns": columns} | more


def make_dataset(source: dict[str, Any], **changes: Any) -> Dataset:
    return Syncing("").dataset(source, **changes)


def read(source: Source, day: date) -> list[str]:
    """Return the day's rows in COPY's text format."""
    out = io.BytesIO()
    count = source.read_day(day, out, CopyFormat.TEXT)
    lines = out.getvalue().decode().splitlines()
    assert len(lines) == count
    return lines


def read_directly(dataset: Dataset, day: date) -> list[str]:
    with closing(open_source(dataset, Settings({}))) as source:
        return read(source, day)


def write_csv(path: Path, *days: object) -> Path:
    path.write_text("id,day\n" + "".join(f"{n},{day or ''}\n" for n, day in enumerate(days)))
    return path
