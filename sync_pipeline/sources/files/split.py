"""Split rows by day into a temporary file, and read the rows of one day back.

The temporary file contains the record batches of each day; only their positions are in memory. Does
not decide which files are split, and when: see `shared.py`.
"""

import os
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from functools import lru_cache
from typing import IO
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.config.day_bounds import FIRST_DAY, LAST_DAY, DayType, day_bounds

# Larger batches mean fewer, larger pieces if the rows of a file are not sorted by day.
_CHUNK_ROWS = 65_536
_CHUNK_BYTES = 8 * 1024 * 1024
_EPOCH = date(1970, 1, 1).toordinal()
_INSTANT = pa.timestamp("us", "UTC")
_Rows = tuple[pa.RecordBatch, pa.Array]


class TemporaryFileError(Exception):
    """The temporary file cannot be written, for example because the disk is full."""


class TemporaryRows:
    """A temporary file of record batches. Written by one thread at a time, read by any.

    The file has no name, so that it is deleted even if the process is killed.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self.size = 0

    def append(self, batch: pa.RecordBatch) -> tuple[int, int]:
        """Write a batch; return its start and size. Raises TemporaryFileError."""
        data = memoryview(batch.serialize())
        start = self.size
        try:
            if self._file is None:
                self._file = _temporary_file()
            while data:
                written = os.pwrite(self._file.fileno(), data, self.size)
                self.size += written
                data = data[written:]
        except OSError as error:
            raise TemporaryFileError(f"{tempfile.gettempdir()}: {error}") from error
        return start, self.size - start

    def read(self, start: int, size: int, schema: pa.Schema) -> pa.RecordBatch:
        """Return a batch. Raises OSError or a pyarrow error."""
        return pa.ipc.read_record_batch(pa.py_buffer(self._read(start, size)), schema)

    def truncate(self, size: int) -> None:
        """Remove the batches after the first `size` bytes."""
        self.size = size
        if self._file is not None:
            with suppress(OSError):  # the space is released when the file is closed
                os.ftruncate(self._file.fileno(), size)

    def close(self) -> None:
        """Delete the file. Idempotent."""
        if self._file is not None:
            self._file.close()
        self._file, self.size = None, 0

    def _read(self, start: int, size: int) -> bytes:
        assert self._file is not None  # noqa: S101  a batch was written
        data = os.pread(self._file.fileno(), size, start)
        while len(data) < size:  # one call reads at most 2 GiB
            more = os.pread(self._file.fileno(), size - len(data), start + len(data))
            if not more:
                raise OSError("the temporary file is truncated")
            data += more
        return data


class Split:
    """The rows of a file, or of a part of it, in a temporary file by day.

    Rows whose day is NULL are left out. The rows of a day keep their order.
    """

    def __init__(self, batches: Iterable[_Rows], file: TemporaryRows) -> None:
        """Write batches, each with the day number of every row. Raises TemporaryFileError."""
        self._file = file
        self._schema: pa.Schema | None = None
        # By day number, the start and size of each batch; arrays are smaller than lists of tuples.
        self._positions: dict[int, array[int]] = defaultdict(lambda: array("q"))
        for rows, numbers in _in_chunks(batches):
            self._write(rows, numbers)

    def rows(self, day: date) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `day`."""
        positions = self._positions.get(day.toordinal() - _EPOCH, array("q"))
        for start, size in zip(positions[::2], positions[1::2], strict=True):
            yield self._file.read(start, size, self._schema)

    def _write(self, rows: pa.RecordBatch, numbers: pa.Array) -> None:
        if numbers.null_count:
            rows, numbers = rows.filter(numbers.is_valid()), numbers.drop_null()
        if not _is_sorted(numbers):
            order = pc.array_sort_indices(numbers)  # stable
            rows, numbers = rows.take(order), numbers.take(order)
        self._schema, start = rows.schema, 0
        for found in pc.value_counts(numbers).to_pylist():
            part = rows.slice(start, found["counts"])
            self._positions[found["values"]].extend(self._file.append(part))
            start += found["counts"]


def can_split(schema: pa.Schema) -> bool:
    """Return whether slices of rows with this schema can be written without all of the values that
    they share with other slices."""
    return not any(_shares_values(_without_dictionary(field.type)) for field in schema)


def day_numbers(values: pa.Array, day_type: DayType, zone: ZoneInfo) -> pa.Array:
    """Return each value's day, as defined by `day_bounds`, as the number of days since 1970-01-01.

    `values` are dates or timestamps in any unit. NULL has no day.
    """
    if pa.types.is_date64(values.type):
        values = values.view(pa.timestamp("ms"))
    if pa.types.is_timestamp(values.type):
        # Views and casts in this order round down and need no time zone database.
        values = values.view(pa.timestamp(values.type.unit))
        values = pc.floor_temporal(values, unit="microsecond")
    numbers = pc.cast(pc.cast(values, pa.date32(), safe=False), pa.int32())
    if day_type is not DayType.TIMESTAMPTZ:
        return numbers
    # No offset reaches 24 hours, so an instant's local day is its UTC day or a day next to it.
    utc_days = numbers.dictionary_encode()
    found = utc_days.dictionary.to_pylist()
    instants = pc.cast(values, pa.timestamp("us"), safe=False).view(_INSTANT)
    numbers = pc.subtract(numbers, pa.scalar(1, pa.int32()))
    for ahead in (0, 1):
        starts = pa.array([_start_of(number + ahead, zone) for number in found], _INSTANT)
        is_later = pc.greater_equal(instants, starts.take(utc_days.indices))
        numbers = pc.add(numbers, pc.cast(is_later, pa.int32()))
    return numbers


def _temporary_file() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="sync-pipeline-days-", buffering=0)


@lru_cache(maxsize=4096)
def _start_of(number: int, zone: ZoneInfo) -> object:
    """Return the first instant of a day; of the closest day if the day cannot be synced."""
    ordinal = min(max(number + _EPOCH, FIRST_DAY.toordinal()), LAST_DAY.toordinal() + 1)
    if ordinal > LAST_DAY.toordinal():
        return day_bounds(LAST_DAY, DayType.TIMESTAMPTZ, zone).upper
    return day_bounds(date.fromordinal(ordinal), DayType.TIMESTAMPTZ, zone).lower


def _in_chunks(batches: Iterable[_Rows]) -> Iterator[_Rows]:
    """Combine small batches, and decode dictionaries, which would be written with each slice."""
    rows: list[pa.RecordBatch] = []
    numbers: list[pa.Array] = []
    count = size = 0
    for batch, batch_numbers in batches:
        rows.append(_decode(batch))
        numbers.append(batch_numbers)
        count += batch.num_rows
        size += rows[-1].nbytes
        if count >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield from _combine(rows, numbers)
            rows, numbers, count, size = [], [], 0, 0
    if rows:
        yield from _combine(rows, numbers)


def _combine(rows: list[pa.RecordBatch], numbers: list[pa.Array]) -> Iterator[_Rows]:
    days, start = pa.concat_arrays(numbers), 0
    # More than one batch if a column would have more than 2 GiB.
    for batch in pa.Table.from_batches(rows).combine_chunks().to_batches():
        yield batch, days.slice(start, batch.num_rows)
        start += batch.num_rows


def _decode(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.record_batch(columns, names=batch.schema.names)


def _is_sorted(numbers: pa.Array) -> bool:
    in_order = pc.less_equal(numbers[:-1], numbers[1:])
    return pc.all(in_order, min_count=0).as_py() is True


def _without_dictionary(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _shares_values(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _shares_values(kind.storage_type)
    return (
        pa.types.is_dictionary(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary_view(kind)
        or any(_shares_values(kind.field(n).type) for n in range(kind.num_fields))
    )
