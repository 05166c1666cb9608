"""A source that is a table or a query of any database that SQLAlchemy has a dialect for, read-only.

Not through connectorx, which is some times faster: it breaks at DECIMAL(65,30) and at TIME beyond
24 hours, and its count and its rows cannot come from one snapshot.

A connection that failed, that a cancellation was aimed at, or whose rows were not read to the end,
is never used again: a driver may read all the rest before it closes. The next day opens a new one.
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
from sync_pipeline.sources.arrow.source import ROWS_AT_ONCE
from sync_pipeline.sources.sql.connection import Connector
from sync_pipeline.sources.sql.shape import SqlShape, day_of, ready_statement, shape_of, strays_of
from sync_pipeline.sources.sql.types import MYSQL
from sync_pipeline.sources.sql.values import Converter, shown

_BATCH_BYTES = 8 * 1024 * 1024


class SqlRows:
    """`ArrowRows` over one connection. See the protocol for what each method promises."""

    def __init__(self, dataset: Dataset, keys: SqlSource, url: str) -> None:
        self._dataset = dataset
        self._keys = keys
        self._count: int | None = None
        self._connection: sa.Connection | None = None
        self._driver: tuple[Any, int | None] | None = None
        self._broken_off = False
        self._days_checked = False
        self._connector = Connector(dataset, keys, url)
        self._dialect = self._connector.dialect.name
        try:
            self._shape = self._described()
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
        """Yield the rows of `day`. Raises SourceError, or NotReadyError where `ready_query` says
        so."""
        self._count = None
        if self._broken_off:
            self._drop()
        whole = False
        connection = self._connected()
        try:
            with self._limited(day):
                yield from self._batches(connection, day)
                connection.rollback()
                whole = True
        except SQLAlchemyError as error:
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {day} from {self._keys.origin}: "
                f"{self._connector.said(error)}"
            ) from self._connector.cause(error)
        finally:
            if not whole:
                self._drop()

    def counted(self) -> int | None:
        return self._count

    def cancel(self) -> None:
        """Break the read off at the driver, and at the server where it goes on by itself."""
        self._broken_off = True
        driver = self._driver
        if driver is not None:
            self._connector.break_off(*driver)

    def close(self) -> None:
        """Close the connection; a later `read` opens another."""
        self._drop()
        self._connector.close()

    def _described(self) -> SqlShape:
        what = f"table {self._keys.table}" if self._keys.table else "the query"
        connection = self._connected()
        try:
            shape = shape_of(connection, self._dataset, self._keys)
            connection.rollback()
        except NoSuchTableError:
            raise SourceError(
                f"dataset {self._dataset.name}: the source has no {what}; check 'table' in its "
                f"defs.yaml and the database of {self._keys.url_env}"
            ) from None
        except SQLAlchemyError as error:
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {what}: {self._connector.said(error)} "
                f"(check it in the dataset's defs.yaml, and that the user of {self._keys.url_env} "
                "may SELECT from it)"
            ) from self._connector.cause(error)
        return shape

    def _batches(self, connection: sa.Connection, day: date) -> Iterator[pa.RecordBatch]:
        for statement in self._connector.snapshot:
            connection.exec_driver_sql(statement)
        self._check_ready(connection, day)
        self._check_all_days(connection)
        count, select = day_of(self._shape, day, self._dataset, self._dialect)
        if self._keys.count and self._connector.snapshot:
            self._count = connection.execute(count).scalar_one()
        where = f"dataset {self._dataset.name}: {day} of {self._keys.origin}"
        size = 1
        result = connection.execute(
            select, execution_options={"stream_results": True, "max_row_buffer": 1}
        )
        while rows := result.fetchmany(size):
            batch = self._batch(rows, where)
            yield batch
            # Of rows as large as these, as many as fit; not many more at once than before.
            fitting = _BATCH_BYTES * len(rows) // max(batch.nbytes, 1)
            size = min(max(fitting, 1), 4 * size, ROWS_AT_ONCE)
        result.close()

    def _batch(self, rows: Sequence[sa.Row[Any]], where: str) -> pa.RecordBatch:
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
                f"dataset {self._dataset.name}: its ready_query fails for {day}: "
                f"{self._connector.said(error)} (check it in the dataset's defs.yaml)"
            ) from self._connector.cause(error)
        if row is None or _is_false(row[0]):
            raise NotReadyError(
                f"dataset {self._dataset.name}: the source is not ready for {day}: ready_query "
                f"found {row[0] if row else 'no row'}; its former rows stand. Try it again later"
            )

    def _check_all_days(self, connection: sa.Connection) -> None:
        """Raise SourceError for a value that its column does not promise, and that no day would
        find. It takes a look at all rows, once."""
        strays = strays_of(self._shape, self._dataset, self._dialect)
        if strays is None or self._days_checked:
            return
        with connection.execute(strays.statement) as result:
            row = result.first()
        if row is not None:
            raise SourceError(
                f"dataset {self._dataset.name}: the day_column {self._keys.day_column!r} of "
                f"{self._keys.origin} has the value {shown(row[0])}, whose row no day would find; "
                f"it must be {strays.promised}. Mend it at the source, or give a 'query' that "
                "converts it"
            )
        self._days_checked = True

    @contextmanager
    def _limited(self, day: date) -> Iterator[None]:
        """Break off what happens within if it takes longer than `statement_timeout_seconds`."""
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
                f"than {seconds:g} seconds; set a longer 'statement_timeout_seconds', or put an "
                f"index on {self._keys.day_column!r}"
            ) from error
        finally:
            timer.cancel()

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._connector.connect()
            driver = self._connection.connection.driver_connection
            thread = driver.thread_id() if self._dialect in MYSQL else None  # type: ignore[union-attr]
            self._driver = (driver, thread)
        return self._connection

    def _drop(self) -> None:
        """Close the connection; a statement that goes on is broken off, its rows are not read."""
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        broken_off, self._broken_off = self._broken_off, False
        if connection is None:
            return
        if driver is not None:
            if connection.in_transaction() and not broken_off:
                self._connector.break_off(*driver)
            self._connector.abandon(driver[0])
        with suppress(Exception):  # it may be lost already
            connection.invalidate()
        connection.close()


def _is_false(value: Any) -> bool:
    """Return whether a value says no, in any driver's form of false, 0 or NULL."""
    if isinstance(value, bytes):  # MySQL's BIT
        return not any(value)
    try:
        return value is None or float(value) == 0
    except (TypeError, ValueError):
        return str(value).lower() in ("f", "false")
