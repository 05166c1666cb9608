"""Read a file that contains many days once for the whole run, instead of once for each day.

The first day that needs a file reads it directly, so that a run of one day costs nothing more. The
second such day splits the file by day into a temporary file, and all later days read their rows
from there. The workers of a run, which have separate sources, share the temporary file. Does not
read or write it: see `split.py`.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from sync_pipeline.errors import one_line
from sync_pipeline.sources.files.finder import File
from sync_pipeline.sources.files.split import Split, TemporaryFileError, TemporaryRows

_CHECK_SECONDS = 0.1
_logger = logging.getLogger(__name__)
_lock = threading.Lock()
_shared: dict[Hashable, "SharedSplits"] = {}


@dataclass
class _Part:
    """A part of a file: the day that read it directly, and its split, if it was split."""

    first_day: date
    split: Split | None = None


class SharedSplits:
    """The split files of a dataset, shared by all sources in the process with the same key."""

    def __init__(self, key: Hashable) -> None:
        self._key = key
        self._users = 0
        self._changed = threading.Condition()
        self._files: dict[str, tuple[File, dict[int | None, _Part]]] = {}
        self._rows = TemporaryRows()
        self._is_splitting = False
        self._is_full = False

    @classmethod
    def open(cls, key: Hashable) -> "SharedSplits":
        """Return the splits with this key. The caller must close them."""
        with _lock:
            splits = _shared.setdefault(key, cls(key))
            splits._users += 1
            return splits

    def close(self) -> None:
        """Delete the temporary file if no other source uses it. Call once for each `open`."""
        with _lock:
            self._users -= 1
            if not self._users:
                del _shared[self._key]
                self._rows.close()

    def find(
        self,
        file: File,
        row_group: int | None,
        day: date,
        make: Callable[[TemporaryRows], Split],
        check_cancelled: Callable[[], None],
    ) -> Split | None:
        """Return the split of a file, or of one of its row groups; None means to read it directly.

        Calls `make` if an earlier day has read the same rows. Waits if another thread is splitting.
        Raises the errors of `make` and `check_cancelled`; the next call then splits again.
        """
        with self._changed:
            part = self._part(file, row_group, day)
            while not self._is_decided(part, day) and self._is_splitting:
                self._changed.wait(_CHECK_SECONDS)
                check_cancelled()
            if self._is_decided(part, day):
                return part.split
            self._is_splitting = True
        size = self._rows.size
        try:
            part.split = make(self._rows)
        except TemporaryFileError as error:
            self._is_full = True
            _logger.warning(
                "cannot write a temporary file; files with many days are read completely for each "
                "day: %s",
                one_line(error),
            )
        finally:
            if part.split is None:
                self._rows.truncate(size)
            with self._changed:
                self._is_splitting = False
                self._changed.notify_all()
        return part.split

    def _is_decided(self, part: _Part, day: date) -> bool:
        return part.split is not None or part.first_day == day or self._is_full

    def _part(self, file: File, row_group: int | None, day: date) -> _Part:
        """Return the part, whose first day is `day` if it is new. Forget another version of it."""
        known = self._files.get(file.path)
        if known is None or known[0] != file:
            if known is not None and len(self._files) == 1 and self._users == 1:
                self._rows.truncate(0)  # otherwise, the space is released when the file is closed
            known = self._files[file.path] = (file, {})
        return known[1].setdefault(row_group, _Part(day))


@dataclass(frozen=True)
class DayRead:
    """One day's read of one file. `splits` is None if the file contains only this day."""

    file: File
    day: date
    where: str
    splits: SharedSplits | None
    check_cancelled: Callable[[], None]
    check_unchanged: Callable[[], None]

    def rows(
        self,
        read: Callable[[], Iterator[pa.RecordBatch]],
        day_numbers: Callable[[pa.RecordBatch], pa.Array],
        row_group: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows that `read` yields, or only those of the day, from a split.

        `day_numbers` returns the day number of each row. Raises the errors of both functions.
        """

        def numbered() -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
            for batch in read():
                self.check_cancelled()
                yield batch, day_numbers(batch)
            self.check_unchanged()

        def make(rows: TemporaryRows) -> Split:
            return Split(numbered(), rows)

        split = None
        if self.splits is not None:
            split = self.splits.find(self.file, row_group, self.day, make, self.check_cancelled)
        return read() if split is None else split.rows(self.day)
