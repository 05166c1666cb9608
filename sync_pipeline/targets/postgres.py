"""How a day replaces its old self: delete, stream in, compare counts, in the caller's transaction.

Nothing is committed here, so that the caller can write its record of the day in the same
transaction. After any error the caller rolls back, and the day's old rows stand.
"""

import threading
from collections.abc import Iterator
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
from sync_pipeline.stream import CHUNK_BYTES, Stream, StreamClosedError, StreamFailedError
from sync_pipeline.targets.locks import begin, lock_day
from sync_pipeline.targets.table import identifier, make_or_check

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_CANCEL_AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Loaded:
    """One day's load: rows the source counted, rows taken, rows they replaced, bytes moved."""

    rows_read: int
    rows_loaded: int
    rows_deleted: int
    bytes: int


class Target:
    """The dataset's table at the target, over a connection that the caller owns."""

    def __init__(self, connection: "Connection", dataset: Dataset) -> None:
        self.connection = connection
        self.copy_format = CopyFormat.BINARY
        self._dataset = dataset

    def prepare(self, shape: Shape) -> None:
        """Make the target table for rows of `shape`, or check the one that is there, and choose how
        rows travel.

        In a transaction of its own, which it commits; several processes may do it at once. Raises
        TargetError, after rolling back, if the table cannot be made or does not fit.
        """
        try:
            with self.connection.cursor() as cursor:
                begin(cursor, self._dataset)
                self.copy_format = make_or_check(cursor, self._dataset, shape)
            self.connection.commit()
        except psycopg2.Error as error:
            self._rollback()
            raise self._failed("cannot prepare", error) from error
        except BaseException:
            self._rollback()
            raise

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
    def reading(self, day: date, source: Source) -> Iterator["Reading"]:
        """Read `day` of `source` ahead of its load, as far as memory is given to it, while the
        block does what comes before. The source is ready for another day afterwards."""
        reading = Reading(source, day, self.copy_format)
        reading.start()
        try:
            yield reading
        finally:
            reading.stop()

    def load_day(self, reading: "Reading") -> Loaded:
        """Delete the rows of the day that is being read, load the new ones. No commit.

        Returns the counts. Raises SourceError or TargetError, whichever side failed first;
        CountMismatchError if the two sides counted differently.
        """
        day, shape = reading.day, reading.source.shape
        try:
            with self.connection.cursor() as cursor:
                deleted = self._delete(cursor, day, shape)
                loaded = self._load(cursor, reading)
        except psycopg2.Error as error:
            raise self._failed(f"cannot load {day} into", error) from error
        if loaded != reading.rows:
            raise CountMismatchError(
                f"dataset {self._dataset.name}: the source gave {reading.rows} rows for {day}, but "
                f"{self._dataset.target.table} took {loaded}; the day was rolled back. Look for a "
                "trigger or a rule on the target table that drops or adds rows"
            )
        return Loaded(reading.rows, loaded, deleted, reading.stream.bytes)

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

    def _load(self, cursor: "Cursor", reading: "Reading") -> int:
        copy = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT {how})").format(
            table=identifier(self._dataset),
            columns=sql.SQL(", ").join(
                [sql.Identifier(column.name) for column in reading.source.shape.columns]
            ),
            how=sql.SQL(reading.copy_format.value),
        )
        try:
            cursor.copy_expert(copy, reading.stream.reader(), size=CHUNK_BYTES)
            reading.join()
        except BaseException:
            reading.stop()
            reading.raise_if_first()
            raise
        return cursor.rowcount

    def _rollback(self) -> None:
        with suppress(psycopg2.Error):  # a lost connection has rolled back already
            self.connection.rollback()

    def _failed(self, what: str, error: psycopg2.Error) -> SyncError:
        return TargetError(
            f"dataset {self._dataset.name}: {what} the target table "
            f"{self._dataset.target.table}: {one_line(error)}"
        )


class Reading(threading.Thread):
    """Reads one day of a source into a stream, beside the thread that loads it."""

    def __init__(self, source: Source, day: date, copy_format: CopyFormat) -> None:
        super().__init__(name=f"read {day}", daemon=True)
        self.stream = Stream()
        self.rows = 0
        self.source = source
        self.copy_format = copy_format
        self.day = day
        self._error: BaseException | None = None

    def run(self) -> None:
        out = self.stream.writer()
        try:
            self.rows = self.source.read_day(self.day, out, self.copy_format)
            out.flush()
        except BaseException as error:
            self._error = error
        self.stream.end(failed=self._error is not None)
        with suppress(StreamClosedError):
            out.close()  # what a failed read left in the buffer must not be written

    def stop(self) -> None:
        """Break the read off, if it is not over, and wait for its end."""
        self.stream.close()
        while self.is_alive():
            # Again and again: a cancellation that arrives before the statement has no effect.
            self.source.cancel()
            self.join(_CANCEL_AGAIN_SECONDS)

    def raise_if_first(self) -> None:
        """Raise what made the load fail if that was not the target: the source, or a signal."""
        cause = self.stream.interruption
        if isinstance(cause, StreamFailedError) and self._error is not None:
            raise self._error
        if cause is not None:
            raise cause
