"""The `sql` source: reads a table or query, read-only, in any database with a SQLAlchemy dialect.

connectorx is several times faster but is not used: it fails for DECIMAL(65,30) and for TIME values
above 24 hours, and it cannot read the count and the rows from one snapshot.

A connection is never reused after an error, a cancellation or an incomplete read, because some
drivers would first read all remaining rows. The next day opens a new connection. Does not open
connections (see `connection.py`) or build statements (see `shape.py`).
"""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import SqlSource
from sync_pipeline.errors import NotReadyError, SourceError
from sync_pipeline.sources.arrow.source import MAX_BATCH_ROWS
from sync_pipeline.sources.sql.connection import Connector
from sync_pipeline.sources.sql.shape import (
    SqlShape,
    day_statements,
    invalid_day_query,
    read_shape,
    ready_statement,
)
from sync_pipeline.sources.sql.types import MYSQL
from sync_pipeline.sources.sql.values import Converter, abbreviate

_BATCH_BYTES = 8 * 1024 * 1024


class SqlRows:
    """An `ArrowRows` that reads through one connection. See the protocol for its methods."""

    def __init__(self, dataset: Dataset, keys: SqlSource, url: str) -> None:
        self._dataset = dataset
        self._keys = keys
        self._count: int | None = None
        self._connection: sa.Connection | None = None
        self._driver: tuple[Any, int | None] | None = None
        self._interrupted = False
        self._day_values_checked = False
        self._connector = Connector(dataset, keys, url)
        self._dialect = self._connector.dialect.name
        try:
            self._shape = self._read_shape()
        except BaseException:
            self.close()
            raise
        self.schema = self._shape.schema
        self.declared = self._shape.declared
        self._converters = [
            Converter(
                name,
                kind,
                zero_as_null=keys.zero_dates == "as_null",
                naive_is_utc=self._dialect in MYSQL,
            )
            for name, kind in self._shape.kinds.items()
        ]

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day`. Raises SourceError, or NotReadyError if `ready_query` returns
        false."""
        self._count = None
        if self._interrupted:
            self._discard_connection()
        complete = False
        connection = self._connect()
        try:
            with self._time_limit(day):
                yield from self._batches(connection, day)
                connection.rollback()
                complete = True
        except SQLAlchemyError as error:
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {day} from {self._keys.origin}: "
                f"{self._connector.describe_error(error)}"
            ) from self._connector.cause(error)
        finally:
            if not complete:
                self._discard_connection()

    def source_count(self) -> int | None:
        return self._count

    def cancel(self) -> None:
        """Interrupt the read in the driver, and on the server if it would continue there."""
        self._interrupted = True
        driver = self._driver
        if driver is not None:
            self._connector.interrupt(*driver)

    def close(self) -> None:
        """Close the connection. A later `read` opens a new one."""
        self._discard_connection()
        self._connector.close()

    def _read_shape(self) -> SqlShape:
        what = f"table {self._keys.table}" if self._keys.table else "the query"
        connection = self._connect()
        try:
            shape = read_shape(connection, self._dataset, self._keys)
            connection.rollback()
        except NoSuchTableError:
            raise SourceError(
                f"dataset {self._dataset.name}: {what} not found in the source; check 'table' in "
                f"its defs.yaml and the database in {self._keys.url_env}"
            ) from None
        except SQLAlchemyError as error:
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {what}: "
                f"{self._connector.describe_error(error)} (check it in the dataset's defs.yaml, "
                f"and that the user in {self._keys.url_env} has SELECT permission)"
            ) from self._connector.cause(error)
        return shape

    def _batches(self, connection: sa.Connection, day: date) -> Iterator[pa.RecordBatch]:
        for statement in self._connector.snapshot:
            connection.exec_driver_sql(statement)
        self._check_ready(connection, day)
        self._check_day_values(connection)
        count, select = day_statements(self._shape, day, self._dataset, self._dialect)
        if self._keys.count and self._connector.snapshot:
            self._count = connection.execute(count).scalar_one()
        where = f"dataset {self._dataset.name}: {day} from {self._keys.origin}"
        size = 1
        result = connection.execute(
            select, execution_options={"stream_results": True, "max_row_buffer": 1}
        )
        while rows := result.fetchmany(size):
            batch = self._to_batch(rows, where)
            yield batch
            # Next, fetch as many rows as fit into _BATCH_BYTES, but at most 4 × `size`.
            fitting = _BATCH_BYTES * len(rows) // max(batch.nbytes, 1)
            size = min(max(fitting, 1), 4 * size, MAX_BATCH_ROWS)
        result.close()

    def _to_batch(self, rows: Sequence[sa.Row[Any]], where: str) -> pa.RecordBatch:
        columns = zip(self._converters, zip(*rows, strict=True), strict=True)
        arrays = [converter.array(values, where) for converter, values in columns]
        return pa.record_batch(arrays, schema=self.schema)

    def _check_ready(self, connection: sa.Connection, day: date) -> None:
        query = self._keys.ready_query
        if query is None:
            return
        statement = ready_statement(query, day, self._dataset)
        try:
            with connection.execute(statement) as result:
                row = result.first()
        except SQLAlchemyError as error:
            raise SourceError(
                f"dataset {self._dataset.name}: ready_query failed for {day}: "
                f"{self._connector.describe_error(error)} (check it in the dataset's defs.yaml)"
            ) from self._connector.cause(error)
        if row is None or _is_false(row[0]):
            raise NotReadyError(
                f"dataset {self._dataset.name}: the source is not ready for {day}: ready_query "
                f"returned {row[0] if row else 'no row'}; the day keeps its previous rows. Sync it "
                "again later"
            )

    def _check_day_values(self, connection: sa.Connection) -> None:
        """Raise SourceError if a row's day column has an invalid value; no day would include it.

        Scans all rows, but only before the first day is read.
        """
        query = invalid_day_query(self._shape, self._dataset, self._dialect)
        if query is None or self._day_values_checked:
            return
        with connection.execute(query.statement) as result:
            row = result.first()
        if row is not None:
            raise SourceError(
                f"dataset {self._dataset.name}: day_column {self._keys.day_column!r} of "
                f"{self._keys.origin} has the value {abbreviate(row[0])}, so its row does not "
                f"belong to any day; the value must be {query.expected}. Fix it in the source, or "
                "convert it in a 'query'"
            )
        self._day_values_checked = True

    @contextmanager
    def _time_limit(self, day: date) -> Iterator[None]:
        """Cancel the read in the block if it takes longer than `statement_timeout_seconds`."""
        seconds, over = self._keys.statement_timeout_seconds, threading.Event()

        def end() -> None:
            over.set()
            self.cancel()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception as error:
            if not over.is_set():
                raise
            raise SourceError(
                f"dataset {self._dataset.name}: reading {day} from {self._keys.origin} took longer "
                f"than {seconds:g} seconds; increase 'statement_timeout_seconds', or create an "
                f"index on {self._keys.day_column!r}"
            ) from error
        finally:
            timer.cancel()

    def _connect(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._connector.connect()
            driver = self._connection.connection.driver_connection
            thread = driver.thread_id() if self._dialect in MYSQL else None  # type: ignore[union-attr]
            self._driver = (driver, thread)
        return self._connection

    def _discard_connection(self) -> None:
        """Close the connection. Interrupts a running statement instead of reading all its rows."""
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        interrupted, self._interrupted = self._interrupted, False
        if connection is None:
            return
        if driver is not None:
            if connection.in_transaction() and not interrupted:
                self._connector.interrupt(*driver)
            self._connector.discard_rows(driver[0])
        with suppress(Exception):  # the connection may already be lost
            connection.invalidate()
        connection.close()


def _is_false(value: Any) -> bool:
    """Return whether a value is false, 0 or NULL, in any driver's representation."""
    if isinstance(value, bytes):  # MySQL returns BIT as bytes
        return not any(value)
    try:
        return value is None or float(value) == 0
    except (TypeError, ValueError):
        return str(value).lower() in ("f", "false")
