"""Connect to a database through SQLAlchemy, interrupt statements, and classify errors.

Contains everything that differs between databases and drivers: session settings, how to start a
snapshot, how to interrupt a statement from another thread, and which errors are transient. Does not
select any rows: see `shape.py` and `source.py`.
"""

import math
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import SqlSource
from sync_pipeline.errors import (
    SettingError,
    SourceUnreachableError,
    TransientSourceError,
    one_line,
)
from sync_pipeline.settings import may_contain_a_password, secrets_of
from sync_pipeline.sources.sql.types import MYSQL

# The count and the rows are read from one snapshot, so that they match.
_SNAPSHOT_STATEMENTS = dict.fromkeys(
    MYSQL,
    (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
) | {"sqlite": ("BEGIN",)}
# MySQL: cannot connect, too many connections, server shutting down or disconnected, connection lost
# or killed, lock wait timeout, deadlock, table altered after the snapshot.
_TRANSIENT_MYSQL = {2002, 2003, 2006, 2013, 2055, 1040, 1053, 1205, 1213, 1412, 1927}
_BUSY_SQLITE = re.compile(r"database (?:table )?is locked|database schema is locked")
# The pip package for each dialect or driver whose package has a different name.
_PACKAGES = {
    "clickhouse": "clickhouse-sqlalchemy",
    "snowflake": "snowflake-sqlalchemy",
    "bigquery": "sqlalchemy-bigquery",
    "duckdb": "duckdb-engine",
    "db2": "ibm_db_sa",
}
_ODBC_PASSWORD = re.compile(r"\bpwd=(\{[^}]*\}|[^;]+)", re.I)
_PYMYSQL_TEXT_TYPES = (0, 7, 10, 12, 246)  # decimals, dates and times; Arrow parses them from text


class Connector:
    """Opens connections to the database that `url_env` names. Messages do not show its password."""

    def __init__(self, dataset: Dataset, keys: SqlSource, url: str) -> None:
        self._dataset = dataset
        self._keys = keys
        self._url = _parse_url(dataset, keys, url)
        self._secrets = (*secrets_of(url), *_find_secrets(self._url))
        self._engine = self._make_engine()

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    @property
    def snapshot(self) -> tuple[str, ...]:
        """The statements that start a snapshot transaction; empty if not supported."""
        return _SNAPSHOT_STATEMENTS.get(self.dialect.name, ())

    def connect(self) -> sa.Connection:
        """Open a connection and set up its session. Raises SourceUnreachableError if it fails."""
        self._check_file()
        try:
            connection = self._open()
            try:
                for statement in self._session_statements():
                    connection.exec_driver_sql(statement)
                connection.rollback()
                if self.dialect.driver == "pymysql":  # its connect_timeout does not cover the login
                    driver: Any = connection.connection.driver_connection
                    # Longer than the statement timeout, whose more helpful error should come first.
                    driver._read_timeout = self._keys.statement_timeout_seconds + 5
            except BaseException:
                connection.close()
                raise
        except SQLAlchemyError as error:
            raise SourceUnreachableError(
                f"dataset {self._dataset.name}: cannot connect to the database in "
                f"{self._keys.url_env}: {self.describe_error(error)} (check "
                f"{self._keys.url_env}, and that the server is running)"
            ) from self.cause(error)
        return connection

    def _open(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except SQLAlchemyError:
            raise
        except Exception as error:  # the driver rejects an option in the URL
            raise SourceUnreachableError(self._describe_invalid_url(error)) from error

    def describe_error(self, error: BaseException) -> str:
        """Return the driver's message on one line, without secrets and without the statement."""
        return one_line(_driver_error(error), *self._secrets)

    def cause(self, error: BaseException) -> BaseException:
        """Return the exception to set as `__cause__`: a transient one if a retry may succeed."""
        if self._is_transient(error):
            return TransientSourceError(self.describe_error(error))
        return _driver_error(error)

    def interrupt(self, driver: Any, thread: int | None) -> None:
        """Interrupt another thread's statement on this driver connection.

        The connection is unusable afterwards. `thread` is the connection's thread ID on a MySQL
        server, and None for other databases.
        """
        with suppress(Exception):  # the connection may already be closed or lost
            if thread is None:
                (getattr(driver, "interrupt", None) or driver.cancel)()
                return
            # Also ends the read if the server hangs. If the connection is lost, this raises
            # an error and skips KILL, because the server may have reused the thread ID.
            driver._sock.shutdown(socket.SHUT_RDWR)
            # Without KILL, the server would keep executing the statement until its next write.
            with self._engine.connect() as connection:
                connection.exec_driver_sql(f"KILL {int(thread)}")

    @staticmethod
    def discard_rows(driver: Any) -> None:
        """Prevent pymysql from reading all remaining rows when it closes a connection."""
        result = getattr(driver, "_result", None)
        if result is not None:
            result.unbuffered_active = False

    def close(self) -> None:
        self._engine.dispose()

    def _make_engine(self) -> sa.Engine:
        try:
            dialect = self._url.get_dialect()()
            return sa.create_engine(
                self._url, poolclass=sa.NullPool, connect_args=self._connect_args(dialect)
            )
        except (ImportError, NoSuchModuleError) as error:
            raise SettingError(
                f"dataset {self._dataset.name}: the URL in {self._keys.url_env} "
                f"{_describe_missing_driver(error, self._url)}"
            ) from None
        except (ArgumentError, ValueError, TypeError) as error:
            raise SettingError(self._describe_invalid_url(error)) from None

    def _describe_invalid_url(self, error: Exception) -> str:
        options = ", ".join(self._url.query)
        return (
            f"dataset {self._dataset.name}: the URL in {self._keys.url_env} cannot be used: "
            f"{self.describe_error(error)}; correct "
            + (f"its options: {options}" if options else "it")
        )

    def _connect_args(self, dialect: sa.Dialect) -> Mapping[str, Any]:
        seconds = self._keys.connect_timeout_seconds
        if dialect.driver == "pymysql":
            from pymysql.converters import conversions

            kept = {k: v for k, v in conversions.items() if k not in _PYMYSQL_TEXT_TYPES}
            return {
                "conv": kept,
                "charset": "utf8mb4",  # the only charset that supports all of Unicode
                "connect_timeout": seconds,
                "read_timeout": seconds,
            }
        if dialect.driver in ("psycopg2", "psycopg"):
            return {"connect_timeout": seconds}
        if dialect.name == "sqlite":  # several threads use and interrupt it, one at a time
            return {"timeout": self._keys.lock_timeout_seconds, "check_same_thread": False}
        return {}

    def _session_statements(self) -> tuple[str, ...]:
        if self.dialect.name == "sqlite":
            return ("PRAGMA query_only = ON",)
        if self.dialect.name in MYSQL:
            lock = math.ceil(self._keys.lock_timeout_seconds)
            # The server must not drop the connection while a slow target loads rows.
            write = math.ceil(self._keys.statement_timeout_seconds)
            return (
                f"SET time_zone = '+00:00', lock_wait_timeout = {lock}, "
                f"innodb_lock_wait_timeout = {lock}, net_write_timeout = {write}",
            )
        return ()

    def _check_file(self) -> None:
        """Raise SourceUnreachableError if the SQLite file is missing; SQLite would create it."""
        path = self._url.database
        if self.dialect.name != "sqlite" or "uri" in self._url.query:
            return
        if not path or path == ":memory:" or not Path(path).is_file():
            raise SourceUnreachableError(
                f"dataset {self._dataset.name}: SQLite file {path!r} in {self._keys.url_env} "
                "not found; correct the URL (an absolute path has four slashes: "
                "sqlite:////absolute/path)"
            )

    def _is_transient(self, error: BaseException) -> bool:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        found = _driver_error(error)
        if self.dialect.name in MYSQL:
            return bool(found.args) and found.args[0] in _TRANSIENT_MYSQL
        return self.dialect.name == "sqlite" and bool(_BUSY_SQLITE.search(str(found)))


def _parse_url(dataset: Dataset, keys: SqlSource, text: str) -> sa.URL:
    try:
        url, parts = sa.make_url(text), urlsplit(text)
        if parts.netloc and (may_contain_a_password(parts) or "@" in parts.query):
            raise ValueError
    except (ArgumentError, ValueError):
        raise SettingError(
            f"dataset {dataset.name}: {keys.url_env} is not a SQLAlchemy URL, such as "
            "mysql+pymysql://user:password@host:3306/database; any '/', '@', '#', '?' or '%' in "
            "the user name or password, and any '@' elsewhere, must be percent-encoded"
        ) from None
    if url.get_backend_name() in MYSQL and not url.drivername.endswith("+pymysql"):
        # Other drivers turn the date 0000-00-00 into NULL.
        raise SettingError(
            f"dataset {dataset.name}: {keys.url_env} must begin with mysql+pymysql://, the only "
            "supported driver for MySQL and MariaDB"
        )
    return url


def _driver_error(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _find_secrets(url: sa.URL) -> tuple[str, ...]:
    values = (
        text
        for value in url.query.values()
        for text in (value if isinstance(value, tuple) else (value,))
    )
    in_query = [found for text in values for found in _ODBC_PASSWORD.findall(text)]
    return tuple(text for text in (str(url.password or ""), *in_query) if text)


def _describe_missing_driver(error: Exception, url: sa.URL) -> str:
    """Return a message that says how to install a missing dialect or driver."""
    backend = url.get_backend_name()
    if isinstance(error, ImportError) and error.name:
        package = _PACKAGES.get(error.name, error.name.partition(".")[0])
    elif backend in _PACKAGES:
        package = _PACKAGES[backend]
    else:
        return (
            f"begins with {url.drivername}://, which is unknown to SQLAlchemy; correct it, or "
            f"install a package with a dialect for {backend}"
        )
    return f"needs a driver that is not installed; run: pip install {package}"
