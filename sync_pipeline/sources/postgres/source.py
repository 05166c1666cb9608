"""The `postgres` source: reads a table or query in another PostgreSQL database, read-only.

Each day is read with one `COPY (SELECT …) TO STDOUT` in autocommit mode: one statement, one
snapshot, one round trip. A connection is never reused after an error or a cancellation, because it
may still be in a COPY or the cancel request may arrive late. The next day opens a new connection.
Does not determine the columns: see `shape.py`.
"""

from datetime import date
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import day_bounds
from sync_pipeline.config.sources import PostgresSource
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import NotReadyError, SourceError, SourceUnreachableError, one_line
from sync_pipeline.settings import secrets_of
from sync_pipeline.sources.base import ByteSink, CopyFormat
from sync_pipeline.sources.postgres.shape import Selection, select_columns

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


class PostgresReader:
    """A `Source` that reads through one connection. See the protocol for its methods."""

    def __init__(self, dataset: Dataset, keys: PostgresSource, url: str) -> None:
        self._dataset = dataset
        self._keys = keys
        self._url = url
        self._cancelled = False
        self._connection: Connection | None = None
        try:
            self._selection = self._read_selection()
        except BaseException:
            self.close()
            raise
        self.shape = self._selection.shape

    def read_day(self, day: date, out: ByteSink, copy_format: CopyFormat) -> int:
        """Write the rows of `day` to `out` in `copy_format` and return the number of rows."""
        if self._cancelled:
            self.close()
        complete = False
        try:
            connection = self._connect()
            with connection.cursor() as cursor:
                self._check_ready(cursor, day)
                cursor.copy_expert(self._copy_statement(day, copy_format), out)
                complete = True
                return cursor.rowcount
        except psycopg2.Error as error:
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {day} from {self._selection.name}: "
                f"{self._describe_error(error)}"
            ) from error
        finally:
            if not complete:
                self.close()

    def _check_ready(self, cursor: "Cursor", day: date) -> None:
        if self._keys.ready_query is None:
            return
        try:
            cursor.execute(self._keys.ready_query, {"day": day})
        except (ValueError, TypeError, KeyError) as error:  # psycopg2 cannot bind the parameters
            raise SourceError(
                f"dataset {self._dataset.name}: %(day)s is the only parameter allowed in "
                f"ready_query; write any other % as %% ({one_line(error)})"
            ) from None
        except psycopg2.Error as error:
            raise SourceError(
                f"dataset {self._dataset.name}: ready_query failed for {day}: "
                f"{self._describe_error(error)} (check it in the dataset's defs.yaml)"
            ) from error
        row = cursor.fetchone()
        if row is None or not row[0]:
            raise NotReadyError(
                f"dataset {self._dataset.name}: the source is not ready for {day}: ready_query "
                f"returned {row[0] if row else 'no row'}; the day keeps its previous rows. Sync it "
                "again later"
            )

    def cancel(self) -> None:
        """Cancel a read in progress in another thread. Does nothing if there is none."""
        self._cancelled = True
        connection = self._connection
        if connection is not None:
            try:
                connection.cancel()
            except psycopg2.Error:
                return  # the connection was closed or lost, so there is nothing to cancel

    def close(self) -> None:
        """Close the connection. A later `read_day` opens a new one."""
        connection, self._connection = self._connection, None
        self._cancelled = False
        if connection is not None:
            connection.close()

    def _read_selection(self) -> Selection:
        """Read the source's columns and return the selection."""
        try:
            return select_columns(self._connect(), self._dataset, self._keys)
        except psycopg2.Error as error:
            source = self._keys
            what = f"table {source.table}" if source.table else "the query"
            raise SourceError(
                f"dataset {self._dataset.name}: cannot read {what}: {self._describe_error(error)} "
                f"(check it in the dataset's defs.yaml, and that the user in {source.url_env} "
                "has SELECT permission)"
            ) from error

    def _copy_statement(self, day: date, copy_format: CopyFormat) -> sql.Composed:
        # Compare the bare column, so that an index on it can be used.
        bounds = day_bounds(day, self.shape.day_type, self._dataset.zone)
        return sql.SQL(
            "COPY ({select} WHERE {day} >= {lower} AND {day} < {upper}) TO STDOUT (FORMAT {how})"
        ).format(
            select=self._selection.select,
            day=sql.Identifier(self.shape.day_column),
            lower=sql.Literal(bounds.lower),
            upper=sql.Literal(bounds.upper),
            how=sql.SQL(copy_format.value),
        )

    def _connect(self) -> "Connection":
        if self._connection is None:
            source = self._keys
            self._connection = connect(
                self._url,
                setting=source.url_env,
                purpose=f"read {self._dataset.name}",
                error=SourceUnreachableError,
                connect_timeout_seconds=source.connect_timeout_seconds,
                statement_timeout_seconds=source.statement_timeout_seconds,
                read_only=True,
                autocommit=True,
            )
        return self._connection

    def _describe_error(self, error: psycopg2.Error) -> str:
        return one_line(error, *secrets_of(self._url))
