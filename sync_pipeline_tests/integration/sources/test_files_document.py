"""docs/sources/files.md documents every key, and its examples work."""

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from sync_pipeline.config.dataset import DatasetSettings
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.config.sources.files import S3, Csv, Gcs, Ready
from sync_pipeline_tests.integration.sources import files_page
from sync_pipeline_tests.integration.sources.conftest import DAY, Syncing

pytestmark = pytest.mark.integration


def test_every_key_is_documented() -> None:
    groups: dict[str, type[BaseModel]] = {
        "": FilesSource,
        "csv.": Csv,
        "s3.": S3,
        "gcs.": Gcs,
        "ready.": Ready,
    }
    for prefix, model in groups.items():
        for name in set(model.model_fields) - {"csv", "s3", "gcs"}:
            assert f"`{prefix}{name}`" in files_page.TEXT, f"{prefix}{name}"


def test_the_example_on_disk_runs(syncing: Syncing, tmp_path: Path) -> None:
    example = files_page.ON_DISK
    assert example["type"] == "sync_pipeline.DailySync"
    DatasetSettings.model_validate(example["attributes"])
    folder = tmp_path / "clicks" / f"dt={DAY}"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"id": [1, 2]}), folder / "a.parquet")
    os.utime(folder / "a.parquet", (time.time() - 61,) * 2)
    path = example["attributes"]["source"]["path"].replace("/data/lake", str(tmp_path))
    attributes = example["attributes"] | {
        "source": example["attributes"]["source"] | {"path": path}
    }
    (done,) = syncing.sync(**attributes)
    assert done.error is None
    assert syncing.rows("SELECT * FROM clicks ORDER BY id") == [(1, DAY), (2, DAY)]
