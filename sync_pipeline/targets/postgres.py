"""`Target`: load a day's rows using the dataset's write mode, and compare the row counts.

Loads in the caller's transaction without committing, so that the caller can record the day in the
same transaction. After an error the caller rolls back, and the day's existing rows remain. The
write modes are in `write_modes.py`, and the lock is in `locks.py`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import CountMismatchError, SyncError, TargetError, one_line
from sync_pipeline.sources.base import CopyFormat, Shape, Source
from sync_pipeline.targets import quarantine, schema_change
from sync_pipeline.targets.day_reader import DayReader
from sync_pipeline.targets.locks import allow_long_idle, begin, lock_day
from sync_pipeline.targets.names import identifier, join_identifiers
from sync_pipeline.targets.partitions import Partitions
from sync_pipeline.targets.pipe import CHUNK_BYTES
from sync_pipeline.targets.quarantine import LoadContext, Quarantine
from sync_pipeline.targets.row_by_row import RowByRowLoad, is_row_error
from sync_pipeline.targets.table import check_types, create_or_check, is_missing
from sync_pipeline.targets.write_modes import WriteStrategy, choose_strategy, explain

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# A line number in a COPY error is a row number in the day, not a line in the source's file.
_LINE_OF_COPY = re.compile(r"\bCOPY .+?, line (\d+)")


@dataclass(frozen=True)
class Loaded:
    """The counts for one day's load. `rows_loaded` is how many of the rows read are now in the
    target; `rows_deleted` is how many rows were deleted first."""

    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rows_deleted: int
    bytes: int


class Target:
    """The dataset's target table, reached through `connection`. Close it when it is not needed.

    `on_missing` is called if the table does not exist, before it is created.
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
        self._has_quarantine = False
        self._partitions: Partitions | None = None
        self._copies: dict[object, str] = {}
        # One thread for all days: starting a thread can take as long as reading a small day.
        self._reader_thread = ThreadPoolExecutor(1, f"read {dataset.name}")

    def close(self) -> None:
        """Close the connection; uncommitted rows are rolled back."""
        self._reader_thread.shutdown(wait=False)
        self.connection.close()

    def check_exists(self) -> None:
        """Call `on_missing` if the target table does not exist. Raises TargetError."""
        with self._transaction() as cursor:
            self._check_exists(cursor)

    def prepare(self, shape: Shape, former: Mapping[str, str] | None = None) -> list[str]:
        """Create the target table for rows of `shape`, or check the existing one, and choose the
        COPY format.

        `former` maps the source's columns at the last sync to their types. Return one sentence for
        each change made to the table because the columns differ. Commits its own transaction and
        may run in several processes concurrently. Raises TargetError if the table cannot be created
        or does not match, and SettingError for an unknown type or an invalid key.
        """
        with self._transaction() as cursor:
            check_types(cursor, self._dataset, shape)
            self._check_exists(cursor)
            changes = schema_change.apply_schema_change(cursor, self._dataset, shape, former)
            table = create_or_check(cursor, self._dataset, shape)
            self._copy_format = table.copy_format
            self._copies = {}
            self._partitions = Partitions(self._dataset, shape) if table.partitioned else None
            self._has_quarantine = quarantine.prepare(cursor, create=self._quarantines)
        return changes

    def begin_day(self, day: date) -> None:
        """Begin the transaction for `day`: set its timeouts and acquire the day's lock.

        Raises DayLockedError, which names the holder, if the lock cannot be acquired; see
        `locks.lock_day`.
        """
        try:
            lock_day(self.connection, self._dataset, day)
        except psycopg2.Error as error:
            raise self._error(f"cannot begin {day} in", error) from error

    @contextmanager
    def read_ahead(
        self, day: date, source: Source, copy_format: CopyFormat | None = None
    ) -> Iterator[DayReader]:
        """Read `day` from `source` in a thread while the block prepares the target and loads rows.

        The reader blocks while the pipe is full. It is stopped at the end of the block; the source
        can then read another day.
        """
        reader = DayReader(source, day, copy_format or self._copy_format, self._reader_thread)
        try:
            yield reader
        finally:
            reader.stop()

    def load_day(self, reader: DayReader, context: LoadContext | None = None) -> Loaded:
        """Load the rows from `reader` using the dataset's write mode, without committing.

        Return the counts. Raises SourceError or TargetError, depending on which side failed first,
        CountMismatchError if source and target counted different numbers of rows, and
        RejectedRowsError if too many rows were rejected.
        """
        day = reader.day
        try:
            with self.connection.cursor() as cursor:
                if self._has_quarantine:
                    quarantine.delete_day(cursor, self._dataset.name, day)
                loaded = self._load_into_partition(cursor, reader, context or LoadContext())
        except psycopg2.Error as error:
            hint = explain(error, self._dataset, day)
            raise self._error(f"cannot load {day} into", error, hint) from error
        if loaded.rows_loaded + loaded.rows_rejected != loaded.rows_read:
            raise CountMismatchError(
                f"dataset {self._dataset.name}: the source returned {loaded.rows_read} rows for "
                f"{day}, but {self._dataset.target.table} stored {loaded.rows_loaded}; the day was "
                "rolled back. Check the target table for triggers or rules that drop or add rows"
            )
        return loaded

    def commit(self, day: date) -> None:
        """Commit the transaction for `day`. Raises TargetError."""
        try:
            self.connection.commit()
        except psycopg2.Error as error:
            raise self._error(f"cannot commit {day} to", error) from error

    @contextmanager
    def _transaction(self) -> Iterator["Cursor"]:
        """Yield a cursor in a separate transaction, which is committed at the end of the block."""
        try:
            with self.connection.cursor() as cursor:
                begin(cursor, self._dataset)
                yield cursor
            self.connection.commit()
        except psycopg2.Error as error:
            self._rollback()
            raise self._error("cannot prepare", error) from error
        except BaseException:
            self._rollback()
            raise

    def _check_exists(self, cursor: "Cursor") -> None:
        if is_missing(cursor, self._dataset):
            self._on_missing()

    def _load_into_partition(
        self, cursor: "Cursor", reader: DayReader, context: LoadContext
    ) -> Loaded:
        """Load the day; if it needs a new partition, create one and load into it."""
        shape = reader.source.shape
        partition = self._partitions and self._partitions.create_for(cursor, reader.day)
        into = partition.into if partition else identifier(self._dataset)
        strategy = choose_strategy(self._dataset, shape, reader.day, into)
        deleted = strategy.prepare(cursor)
        if self._quarantines:
            counts = self._load_or_reject(cursor, reader, strategy, context)
        else:
            counts = _Counts(reader, self._load(cursor, reader, strategy))
        if partition:
            partition.finish(cursor, counts.reader.rows)
        return Loaded(
            counts.reader.rows,
            counts.loaded,
            counts.rejected,
            deleted,
            counts.reader.pipe.bytes,
        )

    def _load(self, cursor: "Cursor", reader: DayReader, strategy: WriteStrategy) -> int:
        with _finish_reader(reader):
            copy = self._copy(reader, strategy)
            cursor.copy_expert(copy, reader.pipe.reader(), size=CHUNK_BYTES)
        return strategy.apply(cursor, cursor.rowcount)

    def _load_or_reject(
        self, cursor: "Cursor", reader: DayReader, strategy: WriteStrategy, context: LoadContext
    ) -> "_Counts":
        """Load the day with one COPY. If a row is rejected, read the day again and load it row by
        row."""
        cursor.execute("SAVEPOINT one_copy")
        try:
            return _Counts(reader, self._load(cursor, reader, strategy))
        except psycopg2.Error as error:
            if not is_row_error(error):
                raise
        cursor.execute("ROLLBACK TO SAVEPOINT one_copy")
        rejected_rows = Quarantine(cursor, self._dataset, reader.day, context)
        columns = [column.name for column in reader.source.shape.columns]
        strategy.prepare_row_by_row(cursor)
        with self.read_ahead(reader.day, reader.source, CopyFormat.TEXT) as second_reader:
            load = RowByRowLoad(
                cursor,
                self._copy(second_reader, strategy),
                columns,
                rejected_rows.add,
                numbered=strategy.row_numbers is not None,
            )
            # Unlike during a single COPY, the session is idle between two chunks of rows.
            with allow_long_idle(cursor, self._dataset), _finish_reader(second_reader):
                read = second_reader.pipe.reader().read
                load.load(iter(lambda: read(CHUNK_BYTES), b""))
        loaded = strategy.apply_row_by_row(cursor, load.copied, rejected_rows.add)
        return _Counts(second_reader, loaded, rejected_rows.count)

    def _copy(self, reader: DayReader, strategy: WriteStrategy) -> str:
        """Return the COPY statement. It is composed once per table and format: for small days, that
        takes as long as sending it."""
        key = (strategy.copies_into.strings, strategy.row_numbers, reader.copy_format)
        if key not in self._copies:
            columns = [column.name for column in reader.source.shape.columns]
            if strategy.row_numbers is not None:
                columns.insert(0, strategy.row_numbers)
            copy = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT {format})").format(
                table=strategy.copies_into,
                columns=join_identifiers(columns),
                format=sql.SQL(reader.copy_format.value),
            )
            self._copies[key] = copy.as_string(self.connection)
        return self._copies[key]

    @property
    def _quarantines(self) -> bool:
        return self._dataset.target.on_bad_row == "quarantine"

    def _rollback(self) -> None:
        with suppress(psycopg2.Error):  # if the connection is lost, the server rolls back
            self.connection.rollback()

    def _error(self, what: str, error: psycopg2.Error, hint: str = "") -> SyncError:
        message = _LINE_OF_COPY.sub(r"row \1 of the day", one_line(error))
        return TargetError(
            f"dataset {self._dataset.name}: {what} the target table "
            f"{self._dataset.target.table}: {message}{hint}"
        )


@dataclass(frozen=True)
class _Counts:
    """The reader that was used, and how many of its rows were loaded and rejected."""

    reader: DayReader
    loaded: int
    rejected: int = 0


@contextmanager
def _finish_reader(reader: DayReader) -> Iterator[None]:
    """Wait for the reader at the end of the block. If the block fails because the reader failed,
    raise the reader's error."""
    try:
        yield
        reader.wait()
    except BaseException:
        reader.stop()
        reader.raise_if_first()
        raise
