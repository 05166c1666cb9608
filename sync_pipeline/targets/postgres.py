"""How a day replaces its old self: delete, stream in, compare counts, in the caller's transaction.

Nothing is committed here, so that the caller can write its record of the day in the same
transaction. After any error the caller rolls back, and the day's old rows stand.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from sync_pipeline.dataset import Dataset
from sync_pipeline.day_bounds import day_bounds
from sync_pipeline.errors import CountMismatchError, SyncError, TargetError, one_line
from sync_pipeline.sources.base import CopyFormat, Shape, Source
from sync_pipeline.stream import CHUNK_BYTES
from sync_pipeline.targets import rejected, schema_change
from sync_pipeline.targets.careful import CarefulLoad, is_rows_fault
from sync_pipeline.targets.locks import begin, lock_day
from sync_pipeline.targets.reading import Reading
from sync_pipeline.targets.rejected import LoadedFor, Rejected
from sync_pipeline.targets.table import identifier, make_or_check

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


@dataclass(frozen=True)
class Loaded:
    """One day's load: rows the source counted, rows taken, rows set aside, rows they replaced,
    bytes moved."""

    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rows_deleted: int
    bytes: int


class Target:
    """The dataset's table at the target, over a connection that the caller owns."""

    def __init__(self, connection: "Connection", dataset: Dataset) -> None:
        self.connection = connection
        self._copy_format = CopyFormat.BINARY
        self._dataset = dataset
        self._keeps_rejected = False

    def prepare(self, shape: Shape, former: Mapping[str, str] | None = None) -> list[str]:
        """Make the target table for rows of `shape`, or check the one that is there, and choose how
        rows travel.

        `former` are the source's columns when it was last opened, with their types. Returns what
        was changed because it has others now. In a transaction of its own, which it commits;
        several processes may do it at once. Raises TargetError, after rolling back, if the table
        cannot be made or does not fit.
        """
        try:
            with self.connection.cursor() as cursor:
                begin(cursor, self._dataset)
                changes = schema_change.follow(cursor, self._dataset, shape, former)
                self._copy_format = make_or_check(cursor, self._dataset, shape)
                self._keeps_rejected = rejected.prepare(cursor, make=self._quarantines)
            self.connection.commit()
        except psycopg2.Error as error:
            self._rollback()
            raise self._failed("cannot prepare", error) from error
        except BaseException:
            self._rollback()
            raise
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
        """Delete the rows of the day that is being read, load the new ones. No commit.

        Returns the counts. Raises SourceError or TargetError, whichever side failed first;
        CountMismatchError if the two sides counted differently, RejectedRowsError if too many rows
        were not taken.
        """
        day = reading.day
        try:
            with self.connection.cursor() as cursor:
                if self._keeps_rejected:
                    rejected.forget(cursor, self._dataset.name, day)
                deleted = self._delete(cursor, day, reading.source.shape)
                if self._quarantines:
                    loaded = self._load_or_reject(cursor, reading, loaded_for or LoadedFor())
                else:
                    loaded = _Counts(reading, self._load(cursor, reading))
        except psycopg2.Error as error:
            raise self._failed(f"cannot load {day} into", error) from error
        rows, taken = loaded.reading.rows, loaded.loaded + loaded.rejected
        if taken != rows:
            raise CountMismatchError(
                f"dataset {self._dataset.name}: the source gave {rows} rows for {day}, but "
                f"{self._dataset.target.table} took {loaded.loaded}; the day was rolled back. Look "
                "for a trigger or a rule on the target table that drops or adds rows"
            )
        size = loaded.reading.stream.bytes
        return Loaded(rows, loaded.loaded, loaded.rejected, deleted, size)

    def commit(self, day: date) -> None:
        """Commit the transaction of `day`. Raises TargetError."""
        try:
            self.connection.commit()
        except psycopg2.Error as error:
            raise self._failed(f"cannot commit {day} to", error) from error

    def _delete(self, cursor: "Cursor", day: date, shape: Shape) -> int:
        bounds = day_bounds(day, shape.day_type, self._dataset.zone)
        cursor.execute(
            sql.SQL("DELETE FROM {table} WHERE {day} >= {lower} AND {day} < {upper}").format(
                table=identifier(self._dataset),
                day=sql.Identifier(shape.day_column),
                lower=sql.Literal(bounds.lower),
                upper=sql.Literal(bounds.upper),
            )
        )
        return cursor.rowcount

    def _load(self, cursor: "Cursor", reading: Reading) -> int:
        with _reading_to_its_end(reading):
            copy = self._copy(cursor, reading)
            cursor.copy_expert(copy, reading.stream.reader(), size=CHUNK_BYTES)
        return cursor.rowcount

    def _load_or_reject(
        self, cursor: "Cursor", reading: Reading, loaded_for: LoadedFor
    ) -> "_Counts":
        """Load the day at once; if a row is not taken, read it again and load it row by row."""
        cursor.execute("SAVEPOINT at_once")
        try:
            return _Counts(reading, self._load(cursor, reading))
        except psycopg2.Error as error:
            if not is_rows_fault(error):
                raise
        cursor.execute("ROLLBACK TO SAVEPOINT at_once")
        kept = Rejected(cursor, self._dataset, reading.day, loaded_for)
        columns = [column.name for column in reading.source.shape.columns]
        with self.reading(reading.day, reading.source, CopyFormat.TEXT) as again:
            load = CarefulLoad(cursor, self._copy(cursor, again), columns, kept.keep)
            with _reading_to_its_end(again):
                reader = again.stream.reader()
                load.load(iter(lambda: reader.read(CHUNK_BYTES), b""))
        return _Counts(again, load.loaded, kept.count)

    def _copy(self, cursor: "Cursor", reading: Reading) -> str:
        columns = [sql.Identifier(column.name) for column in reading.source.shape.columns]
        return (
            sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT {how})")
            .format(
                table=identifier(self._dataset),
                columns=sql.SQL(", ").join(columns),
                how=sql.SQL(reading.copy_format.value),
            )
            .as_string(cursor)
        )

    @property
    def _quarantines(self) -> bool:
        return self._dataset.target.on_bad_row == "quarantine"

    def _rollback(self) -> None:
        with suppress(psycopg2.Error):  # a lost connection has rolled back already
            self.connection.rollback()

    def _failed(self, what: str, error: psycopg2.Error) -> SyncError:
        return TargetError(
            f"dataset {self._dataset.name}: {what} the target table "
            f"{self._dataset.target.table}: {one_line(error)}"
        )


@dataclass(frozen=True)
class _Counts:
    """A reading that was loaded, rows taken, rows set aside."""

    reading: Reading
    loaded: int
    rejected: int = 0


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
