"""A file that contains many days is read directly once, then split once, and not read again."""

import errno
import logging
import os
import threading
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sync_pipeline.errors import NotReadyError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import Source
from sync_pipeline.sources.files.store import FileStore
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing
from sync_pipeline_tests.integration.sources.days_in_file import (
    THIRD_DAY,
    keys,
    make_dataset,
    read,
    write_csv,
)
from sync_pipeline_tests.integration.sources.file_reads import Reads, open_files

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("temporary_folder")]


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
        while waiting.is_alive():  # cancelling a read that has not started has no effect
            two.cancel()
            waiting.join(0.05)
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
