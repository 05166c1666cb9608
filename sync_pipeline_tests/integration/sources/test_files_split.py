"""A file that contains many days is read directly once, then split once, and not read again."""

import errno
import gzip
import io
import json
import logging
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import NotReadyError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat, Source
from sync_pipeline.sources.files.store import FileStore
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration

ROWS = 40_000
THIRD_DAY = date(2025, 10, 3)
DST_DAYS = [date(2025, 11, 1) + timedelta(days=n) for n in range(4)]
START = datetime(2025, 10, 31, 22, tzinfo=timezone.utc)
SECONDS = 4 * 24 * 3600


class Reads:
    """Counts how often each file is opened, and each row group is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opens: Counter[str] = Counter()
        self.row_groups: Counter[int] = Counter()
        open_file, iter_batches = FileStore.open, pq.ParquetFile.iter_batches

        def count_open(store: FileStore, path: str, *args: Any) -> pa.NativeFile:
            self.opens[path] += 1
            return open_file(store, path, *args)

        def count_groups(file: pq.ParquetFile, *args: Any, **others: Any) -> Any:
            self.row_groups.update(others["row_groups"] or range(file.num_row_groups))
            return iter_batches(file, *args, **others)

        monkeypatch.setattr(FileStore, "open", count_open)
        monkeypatch.setattr(pq.ParquetFile, "iter_batches", count_groups)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield an empty folder for temporary files; at the end, none of them may be open."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert open_files(folder) == []


def open_files(folder: Path) -> list[str]:
    """Return this process's open files in `folder`, including those that have no name."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the descriptor that lists the folder
            continue
    return [link for link in links if link.startswith(f"{folder}/")]


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


def times(*, with_zone: bool) -> list[str | None]:
    """Return unsorted times over four days, some of them empty."""
    seconds = random.Random(1).choices(range(SECONDS), k=ROWS)  # noqa: S311
    ending = "+00:00" if with_zone else ""
    return [
        None if second % 10 == 0 else f"{START + timedelta(seconds=second):%F %T}{ending}"
        for second in seconds
    ]


def write_rows(path: Path, values: list[str | None]) -> None:
    if ".jsonl" in path.name:
        lines = [json.dumps({"id": n, "day": value}) for n, value in enumerate(values)]
    else:
        lines = ["id,day", *(f"{n},{value or ''}" for n, value in enumerate(values))]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("name", ["all.csv", "all.csv.gz", "all.jsonl"])
@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_each_day_has_the_rows_of_a_direct_read_in_the_same_order(
    tmp_path: Path, reads: Reads, name: str, kind: str
) -> None:
    values = times(with_zone=kind == "timestamptz")
    if kind == "date":
        values = [value and value[:10] for value in values]
    write_rows(tmp_path / name, values)
    source_keys = keys(tmp_path / name, columns={"id": "bigint", "day": kind})
    dataset = make_dataset(source_keys, timezone="America/New_York")  # clocks change on Nov 2
    expected = [read_directly(dataset, day) for day in DST_DAYS]
    assert sum(map(len, expected)) > ROWS / 2
    reads.opens.clear()
    with closing(open_source(dataset, Settings({}))) as source:
        assert [read(source, day) for day in DST_DAYS] == expected
        assert [read(source, day) for day in DST_DAYS] == expected
    assert reads.opens == {str(tmp_path / name): 2}


INSTANTS = pa.array(
    [
        None if n % 10 == 0 else START + timedelta(seconds=n * 7919 % SECONDS, microseconds=n)
        for n in range(ROWS)
    ],
    pa.timestamp("us", "UTC"),
)
LOCAL_TIMES = INSTANTS.view(pa.timestamp("us"))


@pytest.mark.parametrize(
    "days",
    [
        INSTANTS,
        INSTANTS.cast(pa.timestamp("ns", "UTC")),
        LOCAL_TIMES,
        LOCAL_TIMES.cast(pa.timestamp("ms"), safe=False),
        LOCAL_TIMES.cast(pa.date32()),
        LOCAL_TIMES.cast(pa.date64()),
    ],
    ids=lambda days: str(days.type),
)
@pytest.mark.parametrize("declared", [False, True], ids=["typed", "declared"])
def test_each_day_of_a_parquet_file_has_the_rows_of_a_direct_read(
    tmp_path: Path, reads: Reads, days: pa.Array, declared: bool
) -> None:
    table = {"id": range(ROWS), "day": days, "name": pa.array(["a", "b"] * (ROWS // 2))}
    table["name"] = table["name"].dictionary_encode()
    pq.write_table(pa.table(table), tmp_path / "all.parquet", row_group_size=ROWS // 2)
    kind = "date" if pa.types.is_date(days.type) else "timestamp"
    kind += "tz" if getattr(days.type, "tz", None) else ""
    columns = {"id": "numeric", "day": kind, "name": "text"} if declared else None
    dataset = make_dataset(keys(tmp_path / "all.parquet", columns=columns), timezone="Asia/Tokyo")
    expected = [read_directly(dataset, day) for day in DST_DAYS]
    assert sum(map(len, expected)) > ROWS / 2
    reads.row_groups.clear()
    with closing(open_source(dataset, Settings({}))) as source:
        assert [read(source, day) for day in DST_DAYS] == expected
    assert set(reads.row_groups.values()) == {2}


def test_a_parquet_file_whose_day_column_is_text_is_split(tmp_path: Path, reads: Reads) -> None:
    days = [str(DAY), str(NEXT_DAY), str(THIRD_DAY), None]
    pq.write_table(pa.table({"id": range(4), "day": days}), tmp_path / "all.parquet")
    source_keys = keys(tmp_path / "all.parquet", columns={"id": "int", "day": "date"})
    with closing(open_source(make_dataset(source_keys), Settings({}))) as source:
        rows = [read(source, day) for day in (DAY, NEXT_DAY, THIRD_DAY)]
    assert rows == [["0\t2025-10-01"], ["1\t2025-10-02"], ["2\t2025-10-03"]]
    assert reads.row_groups == {0: 2}


def test_row_groups_that_one_day_needs_are_not_split(
    tmp_path: Path, reads: Reads, temporary_folder: Path
) -> None:
    days = [DAY] * 100 + [NEXT_DAY] * 100 + [THIRD_DAY] * 100
    table = pa.table({"id": range(300), "day": days})
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=100)
    dataset = make_dataset(keys(tmp_path / "all.parquet"))
    with closing(open_source(dataset, Settings({}))) as source:
        assert [len(read(source, day)) for day in (DAY, NEXT_DAY, THIRD_DAY)] == [100] * 3
        assert open_files(temporary_folder) == []
    assert reads.row_groups == {0: 1, 1: 1, 2: 1}


def test_a_run_of_many_days_opens_a_file_twice_and_loads_all_rows(
    syncing: Syncing, tmp_path: Path, reads: Reads
) -> None:
    days = [DAY + timedelta(days=n) for n in range(20)]
    path = write_csv(tmp_path / "all.csv", *days, None, *reversed(days))
    for _ in range(2):
        assert all(done.error is None for done in syncing.sync(keys(path), days))
    assert syncing.rows("SELECT count(*), count(DISTINCT day) FROM landed") == [(40, 20)]
    assert reads.opens == {str(path): 4}


def test_a_run_of_one_day_opens_a_file_once_and_writes_no_temporary_file(
    tmp_path: Path, reads: Reads, temporary_folder: Path
) -> None:
    path = write_csv(tmp_path / "all.csv", DAY, NEXT_DAY)
    with closing(open_source(make_dataset(keys(path)), Settings({}))) as source:
        assert read(source, DAY) == read(source, DAY)  # such as a retry
        assert open_files(temporary_folder) == []
    assert reads.opens == {str(path): 2}


def test_parallel_workers_share_one_split(syncing: Syncing, tmp_path: Path, reads: Reads) -> None:
    days = [DAY + timedelta(days=n) for n in range(20)]
    path = write_csv(tmp_path / "all.csv", *days * 5_000)
    done = syncing.sync(keys(path), days, parallel_days=4)
    assert all(day.error is None for day in done)
    assert syncing.rows(
        "SELECT count(*), min(n), max(n) FROM "
        "(SELECT count(*) AS n FROM landed GROUP BY day) AS days"
    ) == [(20, 5_000, 5_000)]
    assert reads.opens == {str(path): 2}


def test_a_file_that_is_replaced_between_two_days_is_read_again(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv", DAY, NEXT_DAY, THIRD_DAY)
    with closing(open_source(make_dataset(keys(path)), Settings({}))) as source:
        for day in (DAY, NEXT_DAY):
            read(source, day)
        write_csv(tmp_path / "new.csv", THIRD_DAY, THIRD_DAY, DAY, NEXT_DAY).replace(path)
        assert len(read(source, THIRD_DAY)) == 2
        assert read(source, NEXT_DAY) == ["3\t2025-10-02"]
        assert len(read(source, THIRD_DAY)) == 2


def test_a_split_is_not_used_if_the_file_changed_while_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "all.csv", DAY, NEXT_DAY, THIRD_DAY)
    modified = path.stat().st_mtime_ns
    open_file = FileStore.open

    def open_another(store: FileStore, path: str, *args: Any) -> pa.NativeFile:
        write_csv(Path(path), NEXT_DAY, DAY, THIRD_DAY, DAY)
        return open_file(store, path, *args)

    with closing(open_source(make_dataset(keys(path)), Settings({}))) as source:
        read(source, DAY)
        with monkeypatch.context() as patch:
            patch.setattr(FileStore, "open", open_another)
            with pytest.raises(NotReadyError, match=r"all\.csv changed while it was read"):
                read(source, NEXT_DAY)
        write_csv(path, DAY, NEXT_DAY, THIRD_DAY)
        os.utime(path, ns=(modified, modified))
        assert read(source, NEXT_DAY) == ["1\t2025-10-02"]


def test_an_invalid_day_fails_each_day_with_the_message_of_a_direct_read(
    tmp_path: Path, temporary_folder: Path
) -> None:
    path = write_csv(tmp_path / "all.csv", DAY, NEXT_DAY, "02.10.2025")
    message = r"all\.csv for {day} has the value '02\.10\.2025' in day_column 'day'"
    with closing(open_source(make_dataset(keys(path)), Settings({}))) as source:
        for day in (DAY, NEXT_DAY, THIRD_DAY):
            with pytest.raises(SourceError, match=message.format(day=day)):
                read(source, day)
        write_csv(path, DAY, NEXT_DAY)
        assert read(source, DAY) == ["0\t2025-10-01"]
        assert read(source, NEXT_DAY) == ["1\t2025-10-02"]
        assert len(open_files(temporary_folder)) == 1


def test_an_invalid_value_in_a_parquet_file_fails_only_its_day(tmp_path: Path) -> None:
    at = pa.array([0, 1, 1000], pa.timestamp("ns"))
    table = pa.table({"day": [DAY, NEXT_DAY, THIRD_DAY], "at": at})
    pq.write_table(table, tmp_path / "all.parquet")
    source_keys = keys(tmp_path / "all.parquet", columns={"day": "date", "at": "timestamp"})
    with closing(open_source(make_dataset(source_keys), Settings({}))) as source:
        for _ in range(2):
            assert len(read(source, DAY)) == 1
            with pytest.raises(SourceError, match="2025-10-02: column 'at' has a value that is mo"):
                read(source, NEXT_DAY)
            assert len(read(source, THIRD_DAY)) == 1


def test_a_full_disk_is_logged_once_and_files_are_read_directly(
    tmp_path: Path,
    reads: Reads,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write_csv(tmp_path / "all.csv", DAY, NEXT_DAY, THIRD_DAY)
    write, sizes = os.pwrite, [100]

    def write_until_full(file: int, data: memoryview, offset: int) -> int:
        if not sizes:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: sizes.pop()], offset)

    monkeypatch.setattr(os, "pwrite", write_until_full)
    with (
        caplog.at_level(logging.WARNING),
        closing(open_source(make_dataset(keys(path)), Settings({}))) as source,
    ):
        rows = [read(source, day) for day in (DAY, NEXT_DAY, THIRD_DAY)]
    assert rows == [["0\t2025-10-01"], ["1\t2025-10-02"], ["2\t2025-10-03"]]
    (record,) = caplog.records
    assert "No space left on device" in record.getMessage()
    assert reads.opens == {str(path): 4}


class Blocking:
    """Blocks the reads of a file, from the second one on, until `free` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open, self.free = threading.Event(), threading.Event()
        self.opens = 0
        open_file = FileStore.open

        def block(store: FileStore, path: str, *args: Any) -> pa.NativeFile:
            self.opens += 1
            if self.opens > 1:
                self.is_open.set()
                assert self.free.wait(10)
            return open_file(store, path, *args)

        monkeypatch.setattr(FileStore, "open", block)


class Reading(threading.Thread):
    """Reads a day in a thread; `found` is its rows or its error."""

    def __init__(self, source: Source, day: date) -> None:
        super().__init__(daemon=True)
        self._source, self._day = source, day
        self.found: list[str] | Exception = []
        self.start()

    def run(self) -> None:
        try:
            self.found = read(self._source, self._day)
        except Exception as error:
            self.found = error


def test_a_cancelled_split_and_a_cancelled_wait_end_and_the_next_reader_splits_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary_folder: Path
) -> None:
    path = write_csv(tmp_path / "all.csv", *[DAY, NEXT_DAY, THIRD_DAY] * 1_000)
    dataset = make_dataset(keys(path))
    blocking = Blocking(monkeypatch)
    with (
        closing(open_source(dataset, Settings({}))) as one,
        closing(open_source(dataset, Settings({}))) as two,
        closing(open_source(dataset, Settings({}))) as three,
    ):
        read(one, DAY)
        splitting = Reading(one, NEXT_DAY)
        assert blocking.is_open.wait(10)
        waiting, continuing = Reading(two, NEXT_DAY), Reading(three, THIRD_DAY)
        time.sleep(0.2)
        two.cancel()
        waiting.join(10)
        assert "for 2025-10-02: reading was cancelled" in str(waiting.found)
        assert splitting.is_alive()
        assert continuing.is_alive()
        one.cancel()
        blocking.free.set()
        splitting.join(10)
        continuing.join(10)
        assert "for 2025-10-02: reading was cancelled" in str(splitting.found)
        assert isinstance(continuing.found, list)
        assert len(continuing.found) == 1_000
        assert blocking.opens == 3
        assert len(read(two, NEXT_DAY)) == 1_000
        assert blocking.opens == 3
        assert len(open_files(temporary_folder)) == 1


def test_the_temporary_file_is_deleted_when_the_last_source_is_closed(
    tmp_path: Path, temporary_folder: Path
) -> None:
    path = write_csv(tmp_path / "all.csv", DAY, NEXT_DAY)
    dataset = make_dataset(keys(path))
    one, two = open_source(dataset, Settings({})), open_source(dataset, Settings({}))
    read(one, DAY)
    read(two, NEXT_DAY)
    for _ in range(2):
        one.close()
        assert len(open_files(temporary_folder)) == 1
    assert list(temporary_folder.iterdir()) == []  # it has no name, so that it cannot remain
    two.close()
    assert open_files(temporary_folder) == []
