"""A day's files are found by their paths, and no file is read before it is complete."""

import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sync_pipeline.errors import SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration


def keys(path: Path | str, **more: Any) -> dict[str, Any]:
    defaults = {"type": "files", "path": str(path), "format": "csv", "columns": {"id": "int"}}
    return defaults | more


def put(path: Path, *ids: int, age: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id\n" + "".join(f"{n}\n" for n in ids))
    os.utime(path, (time.time() - age,) * 2)
    return path


def ids(syncing: Syncing) -> list[int]:
    return [n for (n,) in syncing.rows("SELECT id FROM landed ORDER BY id")]


def is_not_ready(done: DayResult, *messages: str) -> bool:
    text = done.error or ""
    return (
        done.outcome is Outcome.FAILED
        and text.startswith("dataset landed: 2025-10-01 is not ready in ")
        and all(part in text for part in messages)
    )


def test_exactly_the_files_of_a_day_are_read(syncing: Syncing, tmp_path: Path) -> None:
    put(tmp_path / "eu/2025/10/01/part-1.csv", 1)
    put(tmp_path / "eu/2025/10/01/part-2.csv", 2)
    put(tmp_path / "us/2025/10/01/part-1.csv", 3)
    put(tmp_path / "us/2025/10/02/part-1.csv", 4)
    put(tmp_path / "us/2025/10/01/_part-9.csv", 5)
    put(tmp_path / "us/2025/10/01/.part-9.csv", 6)
    put(tmp_path / "us/2025/10/01/part-1.csv.tmp", 7)
    put(tmp_path / "us/2025/10/01/part-8.csv/in-a-folder", 8)
    (done,) = syncing.sync(keys(tmp_path / "*/{day:%Y/%m/%d}/part-*.csv"))
    assert done.error is None
    assert ids(syncing) == [1, 2, 3]


def test_a_relative_path_starts_in_the_project_folder(syncing: Syncing, tmp_path: Path) -> None:
    put(tmp_path / "in/2025-10-01.csv", 1)
    syncing.settings["SYNC_PROJECT_DIR"] = str(tmp_path)
    syncing.sync(keys("in/{day}.csv"))
    assert ids(syncing) == [1]


def test_a_day_without_a_file_is_not_ready_and_keeps_its_rows(
    syncing: Syncing, tmp_path: Path
) -> None:
    path = put(tmp_path / "2025-10-01.csv", 1)
    syncing.sync(keys(tmp_path / "{day}.csv"))
    path.unlink()
    (done,) = syncing.sync(keys(tmp_path / "{day}.csv"))
    assert is_not_ready(done, "no file found", "missing_file: empty")
    (done,) = syncing.sync(keys(tmp_path / "no-folder/{day}*.csv"))
    assert is_not_ready(done, "no file found")
    assert ids(syncing) == [1]


def test_a_day_without_a_file_can_be_empty(syncing: Syncing, tmp_path: Path) -> None:
    path = put(tmp_path / "2025-10-01.csv", 1)
    source = keys(tmp_path / "{day}.csv", missing_file="empty")
    syncing.sync(source)
    path.unlink()
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.SUCCESS
    assert ids(syncing) == []


def test_a_file_with_only_a_header_is_an_empty_day(syncing: Syncing, tmp_path: Path) -> None:
    put(tmp_path / "2025-10-01.csv")
    (done,) = syncing.sync(keys(tmp_path / "{day}.csv"))
    assert done.outcome is Outcome.SUCCESS
    assert ids(syncing) == []


@pytest.mark.parametrize(
    ("marker", "marker_path"),
    [
        ("_SUCCESS", "in/_SUCCESS"),
        ("{file}.done", "in/a-2025-10-01.csv.done"),
        ("done/{day:%Y%m%d}.ok", "in/done/20251001.ok"),
    ],
)
def test_a_file_is_read_when_its_marker_exists(
    syncing: Syncing, tmp_path: Path, marker: str, marker_path: str
) -> None:
    put(tmp_path / "in/a-2025-10-01.csv", 1)
    source = keys(tmp_path / "in/a-{day}*", ready={"marker": marker})
    (done,) = syncing.sync(source)
    assert is_not_ready(
        done, f"the ready marker {tmp_path / marker_path} for a-2025-10-01.csv is missing"
    )
    put(tmp_path / marker_path)
    (done,) = syncing.sync(source)
    assert done.error is None
    assert ids(syncing) == [1]


def test_a_day_without_files_is_empty_when_the_marker_of_its_folder_exists(
    syncing: Syncing, tmp_path: Path
) -> None:
    source = keys(tmp_path / "{day}/*.csv", ready={"marker": "_SUCCESS"}, missing_file="empty")
    (done,) = syncing.sync(source)
    assert is_not_ready(done, f"{tmp_path}/2025-10-01/_SUCCESS", "is missing")
    put(tmp_path / "2025-10-01/_SUCCESS")
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.SUCCESS


def test_a_file_is_read_when_it_is_unchanged_for_settle_seconds(
    syncing: Syncing, tmp_path: Path
) -> None:
    source = keys(tmp_path / "{day}-*.csv", ready={"settle_seconds": 600})
    put(tmp_path / "2025-10-01-a.csv", 1, age=3600)
    put(tmp_path / "2025-10-01-b.csv", 2, age=30)
    (done,) = syncing.sync(source)
    assert is_not_ready(
        done, "2025-10-01-b.csv was modified 3", "s ago; it must be unchanged for 600 s"
    )
    put(tmp_path / "2025-10-01-b.csv", 2, age=601)
    (done,) = syncing.sync(source)
    assert ids(syncing) == [1, 2]


class CallbackSink:
    """A sink that calls a function when it is first written to."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def write(self, data: Any, /) -> int:
        if data and self._function is not None:
            self._function()
            self._function = None
        return len(data)


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_is_not_ready(
    syncing: Syncing, tmp_path: Path, change: str
) -> None:
    path = put(tmp_path / "2025-10-01.csv", 1)

    def change_file() -> None:
        if change == "append":
            with path.open("a") as file:
                file.write("2\n")
        elif change == "replace":
            put(tmp_path / "new", 2, age=5).replace(path)
        else:
            path.unlink()

    source = open_source(syncing.dataset(keys(tmp_path / "{day}.csv")), Settings({}))
    with pytest.raises(Exception, match=r"2025-10-01\.csv changed while it was read"):
        source.read_day(DAY, CallbackSink(change_file), CopyFormat.TEXT)


def test_a_read_that_finds_no_more_rows_can_be_cancelled(syncing: Syncing, tmp_path: Path) -> None:
    columns = {"id": "int", "day": "date"}
    (tmp_path / "all.csv").write_text("id,day\n" + "1,2025-10-01\n" + "2,2025-10-02\n" * 900_000)
    source_keys = keys(tmp_path / "all.csv", columns=columns, day_column="day")
    source = open_source(syncing.dataset(source_keys), Settings({}))
    with pytest.raises(SourceError, match="reading was cancelled"):
        source.read_day(DAY, CallbackSink(source.cancel), CopyFormat.TEXT)


def test_the_columns_are_read_from_the_latest_complete_day(
    syncing: Syncing, tmp_path: Path
) -> None:
    for name, column in (("31.12.2024", "old"), ("02.10.2025", "new"), ("03.10.2025", "half")):
        pq.write_table(pa.table({column: [1]}), tmp_path / f"{name}.parquet")
    put(tmp_path / "31.12.2024.parquet.ok")
    put(tmp_path / "02.10.2025.parquet.ok")
    os.utime(tmp_path / "02.10.2025.parquet", (1, 1))
    source = {
        "type": "files",
        "path": f"{tmp_path}/{{day:%d.%m.%Y}}.parquet",
        "ready": {"marker": "{file}.ok"},
    }
    syncing.sync(source, [NEXT_DAY])
    assert syncing.types() == {"new": "bigint", "sync_date": "date"}


def test_a_day_is_not_empty_if_the_folder_of_all_days_is_missing(
    syncing: Syncing, tmp_path: Path
) -> None:
    source = keys(tmp_path / "mount/in/{day}/*.csv", missing_file="empty")
    put(tmp_path / "mount/in/2025-10-01/a.csv", 1)
    syncing.sync(source)
    (tmp_path / "mount/in").rename(tmp_path / "mount/away")
    (done,) = syncing.sync(source)
    assert is_not_ready(done, f"folder {tmp_path}/mount/in not found")
    assert ids(syncing) == [1]


def test_the_day_in_the_path_does_not_depend_on_the_time_zone(
    syncing: Syncing, tmp_path: Path
) -> None:
    put(tmp_path / "2025-10-01.csv", 1)
    syncing.sync(keys(tmp_path / "{day}.csv"), timezone="Pacific/Kiritimati")
    assert syncing.rows("SELECT sync_date FROM landed") == [(date(2025, 10, 1),)]
