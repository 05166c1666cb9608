"""Observe how often files are read, and which temporary files are open."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sync_pipeline.sources.files.store import FileStore


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


def open_files(folder: Path) -> list[str]:
    """Return this process's open files in `folder`, including those that have no name."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the descriptor that lists the folder
            continue
    return [link for link in links if link.startswith(f"{folder}/")]
