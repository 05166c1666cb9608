"""How a day is loaded: written as the dataset says, counts compared, in the caller's transaction.

Nothing is committed here, so that the caller can write its record of the day in the same
transaction. After any error the caller rolls back, and the day's old rows stand.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import CountMismatchError, SyncError, TargetError, one_line
from sync_pipeline.sources.base import CopyFormat, Shape, Source
from sync_pipeline.targets import rejected, schema_change
from sync_pipeline.targets.locks import begin, lock_day, waiting_long
from sync_pipeline.targets.names import identifier, listed
from sync_pipeline.targets.partitions import Partitions
from sync_pipeline.targets.pipe import CHUNK_BYTES
from sync_pipeline.targets.reading import Reading
from sync_pipeline.targets.rejected import LoadedFor, Rejected
from sync_pipeline.targets.row_by_row import CarefulLoad, is_rows_fault
from sync_pipeline.targets.table import check_types, is_missing, make_or_check
from sync_pipeline.targets.write_modes import Writing, explanation, writing

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# A line is a row of the COPY, not one of the source's file.
_LINE_OF_COPY = re.compile(r"\bCOPY .+?, line (\d+)")


@dataclass(frozen=True)
class Loaded:
    """One day's load: rows the source counted, those of them that the target holds now, rows set
    aside, rows of the day that were deleted first, bytes moved."""

    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rows_deleted: int
    bytes: int


class Target:
    """The dataset's table at the target, over a connection that the caller owns.

    `on_missing` is called when there is no such table, before anybody makes it.
    """

    def __init__(
        self,
        connection: "Connection",
        dataset: Dataset,
        on_missing: Callable[[], object] = lambda: None,
    ) -> None:
        self.connection = connection
        self._on_missing = on_missing
        self._copy_format = CopyFormat.BINARY
        self._dataset = dataset
        self._keeps_rejected = False
        self._partitions: Partitions | None = None

    def look(self) -> None:
        """Look whether the target table is there. Raises TargetError."""
        with self._looking() as cursor:
            self._tell_if_missing(cursor)

    def prepare(self, shape: Shape, former: Mapping[str, str] | None = None) -> list[str]:
        """Make the target table for rows of `shape`, or check the one that is there, and choose how
        rows travel.

        `former` are the source's columns when it was last opened, with their types. Returns what
        was changed because it has others now. In a transaction of its own, which it commits;
        several processes may do it at once. Raises TargetError, after rolling back, if the table
        cannot be made or does not fit, SettingError for a type or a key that cannot be.
        """
        with self._looking() as cursor:
            check_types(cursor, self._dataset, shape)
            self._tell_if_missing(cursor)
            changes = schema_change.follow(cursor, self._dataset, shape, former)
            table = make_or_check(cursor, self._dataset, shape)
            self._copy_format = table.copy_format
            self._partitions = Partitions(self._dataset, shape) if table.partitioned else None
            self._keeps_rejected = rejected.prepare(cursor, make=self._quarantines)
        return changes

    def begin_day(self, day: date) -> None:
        """Begin the transaction of `day`: its time limits, and the lock of (dataset, day).

        Raises DayLockedError, which names the holder, if another session holds the day, and for
        longer than the target's `lock_timeout_seconds` where it is to be waited for.
        """
        try:
            lock_day(self.connection, self._dataset, day)
        except psycopg2.Error as error:
            raise self._failed(f"cannot begin {day} in", error) from error

    @contextmanager
    def reading(
        self, day: date, source: Source, copy_format: CopyFormat | None = None
    ) -> Iterator[Reading]:
        """Read `day` of `source` ahead of its load, as far as memory is given to it, while the
        block does what comes before. The source is ready for another day afterwards."""
        reading = Reading(source, day, copy_format or self._copy_format)
        reading.start()
        try:
            yield reading
        finally:
            reading.stop()

    def load_day(self, reading: Reading, loaded_for: LoadedFor | None = None) -> Loaded:
        """Load the rows of the day that is being read, as the dataset's write mode has it. No
        commit.

        Returns the counts. Raises SourceError or TargetError, whichever side failed first;
        CountMismatchError if the two sides counted differently, RejectedRowsError if too many rows
        were not taken.
        """
        day = reading.day
        try:
            with self.connection.cursor() as cursor:
                if self._keeps_rejected:
                    rejected.forget(cursor, self._dataset.name, day)
                loaded = self._load_into_partition(cursor, reading, loaded_for or LoadedFor())
        except psycopg2.Error as error:
            hint = explanation(error, self._dataset, day)
            raise self._failed(f"cannot load {day} into", error, hint) from error
        if loaded.rows_loaded + loaded.rows_rejected != loaded.rows_read:
            raise CountMismatchError(
                f"dataset {self._dataset.name}: the source gave {loaded.rows_read} rows for {day}, "
                f"but {self._dataset.target.table} took {loaded.rows_loaded}; the day was rolled "
                "back. Look for a trigger or a rule on the target table that drops or adds rows"
            )
        return loaded

    def commit(self, day: date) -> None:
        """Commit the transaction of `day`. Raises TargetError."""
        try:
            self.connection.commit()
        except psycopg2.Error as error:
            raise self._failed(f"cannot commit {day} to", error) from error

    @contextmanager
    def _looking(self) -> Iterator["Cursor"]:
        """A cursor in a transaction of its own, committed at the end of the block."""
        try:
            with self.connection.cursor() as cursor:
                begin(cursor, self._dataset)
                yield cursor
            self.connection.commit()
        except psycopg2.Error as error:
            self._rollback()
            raise self._failed("cannot prepare", error) from error
        except BaseException:
            self._rollback()
            raise

    def _tell_if_missing(self, cursor: "Cursor") -> None:
        if is_missing(cursor, self._dataset):
            self._on_missing()

    def _load_into_partition(
        self, cursor: "Cursor", reading: Reading, loaded_for: LoadedFor
    ) -> Loaded:
        """Load the day, into a partition of its own if the table has none that takes it."""
        shape = reading.source.shape
        partition = self._partitions and self._partitions.make_for(cursor, reading.day)
        into = partition.into if partition else identifier(self._dataset)
        write = writing(self._dataset, shape, reading.day, into)
        deleted = write.begin(cursor)
        if self._quarantines:
            counts = self._load_or_reject(cursor, reading, write, loaded_for)
        else:
            counts = _Counts(reading, self._load(cursor, reading, write))
        read = counts.reading
        if partition:
            partition.finish(cursor, read.rows)
        return Loaded(read.rows, counts.loaded, counts.rejected, deleted, read.stream.bytes)

    def _load(self, cursor: "Cursor", reading: Reading, write: Writing) -> int:
        with _reading_to_its_end(reading):
            copy = _copy(cursor, reading, write)
            cursor.copy_expert(copy, reading.stream.reader(), size=CHUNK_BYTES)
        return write.take(cursor, cursor.rowcount)

    def _load_or_reject(
        self, cursor: "Cursor", reading: Reading, write: Writing, loaded_for: LoadedFor
    ) -> "_Counts":
        """Load the day at once; if a row is not taken, read it again and load it row by row."""
        cursor.execute("SAVEPOINT at_once")
        try:
            return _Counts(reading, self._load(cursor, reading, write))
        except psycopg2.Error as error:
            if not is_rows_fault(error):
                raise
        cursor.execute("ROLLBACK TO SAVEPOINT at_once")
        kept = Rejected(cursor, self._dataset, reading.day, loaded_for)
        columns = [column.name for column in reading.source.shape.columns]
        write.begin_carefully(cursor)
        with self.reading(reading.day, reading.source, CopyFormat.TEXT) as again:
            load = CarefulLoad(
                cursor,
                _copy(cursor, again, write),
                columns,
                kept.keep,
                numbered=write.row_numbers is not None,
            )
            # Between two chunks of rows no statement is under way, unlike in one COPY.
            with waiting_long(cursor, self._dataset), _reading_to_its_end(again):
                reader = again.stream.reader()
                load.load(iter(lambda: reader.read(CHUNK_BYTES), b""))
        loaded = write.take_carefully(cursor, load.copied, kept.keep)
        return _Counts(again, loaded, kept.count)

    @property
    def _quarantines(self) -> bool:
        return self._dataset.target.on_bad_row == "quarantine"

    def _rollback(self) -> None:
        with suppress(psycopg2.Error):  # a lost connection has rolled back already
            self.connection.rollback()

    def _failed(self, what: str, error: psycopg2.Error, hint: str = "") -> SyncError:
        said = _LINE_OF_COPY.sub(r"row \1 of the day", one_line(error))
        return TargetError(
            f"dataset {self._dataset.name}: {what} the target table "
            f"{self._dataset.target.table}: {said}{hint}"
        )


@dataclass(frozen=True)
class _Counts:
    """A reading that was loaded, rows taken, rows set aside."""

    reading: Reading
    loaded: int
    rejected: int = 0


def _copy(cursor: "Cursor", reading: Reading, write: Writing) -> str:
    names = [column.name for column in reading.source.shape.columns]
    return (
        sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT {how})")
        .format(
            table=write.copies_into,
            columns=listed([write.row_numbers, *names] if write.row_numbers else names),
            how=sql.SQL(reading.copy_format.value),
        )
        .as_string(cursor)
    )


@contextmanager
def _reading_to_its_end(reading: Reading) -> Iterator[None]:
    """Wait for the end of a reading after the block has loaded it; what failed first is raised."""
    try:
        yield
        reading.join()
    except BaseException:
        reading.stop()
        reading.raise_if_first()
        raise
