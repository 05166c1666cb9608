"""Connections to any database through SQLAlchemy: opened, broken off, and their errors judged.

What differs between databases and drivers stands here: how a session is set up, how a snapshot
begins, how a statement that waits is ended from another thread, which errors may pass.
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
from sync_pipeline.settings import may_cut_a_password, secrets_of
from sync_pipeline.sources.sql.types import MYSQL

# Both read from one snapshot, so that a count is that of the rows.
_SNAPSHOT = dict.fromkeys(
    MYSQL,
    (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
) | {"sqlite": ("BEGIN",)}
# MySQL: cannot connect, too many connections, server stops or has gone, connection lost or killed,
# lock not got in time, deadlock, table altered since the snapshot.
_TRANSIENT_MYSQL = {2002, 2003, 2006, 2013, 2055, 1040, 1053, 1205, 1213, 1412, 1927}
_BUSY_SQLITE = re.compile(r"database (?:table )?is locked|database schema is locked")
# What a URL's dialect or driver is called, and what to pip install for it.
_PACKAGES = {
    "clickhouse": "clickhouse-sqlalchemy",
    "snowflake": "snowflake-sqlalchemy",
    "bigquery": "sqlalchemy-bigquery",
    "duckdb": "duckdb-engine",
    "db2": "ibm_db_sa",
}
_ODBC_PASSWORD = re.compile(r"\bpwd=(\{[^}]*\}|[^;]+)", re.I)
_TEXT_FROM_PYMYSQL = (0, 7, 10, 12, 246)  # decimals, dates and times, which Arrow parses


class Connector:
    """Opens connections to the database of a dataset's `url_env`. Never shows its password."""

    def __init__(self, dataset: Dataset, keys: SqlSource, url: str) -> None:
        self._dataset = dataset
        self._keys = keys
        self._url = _parsed(dataset, keys, url)
        self._secrets = (*secrets_of(url), *_secrets_in(self._url))
        self._engine = self._make_engine()

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    @property
    def snapshot(self) -> tuple[str, ...]:
        """What begins a transaction whose statements all see the same rows; empty if unknown."""
        return _SNAPSHOT.get(self.dialect.name, ())

    def connect(self) -> sa.Connection:
        """Return a connection with its session set up. Raises SourceUnreachableError."""
        self._check_file()
        try:
            connection = self._opened()
            try:
                for statement in self._session():
                    connection.exec_driver_sql(statement)
                connection.rollback()
                if self.dialect.driver == "pymysql":  # its connect_timeout does not cover a log-in
                    driver: Any = connection.connection.driver_connection
                    # Later than the limit of a day, whose error says what to do.
                    driver._read_timeout = self._keys.statement_timeout_seconds + 5
            except BaseException:
                connection.close()
                raise
        except SQLAlchemyError as error:
            raise SourceUnreachableError(
                f"dataset {self._dataset.name}: cannot connect to the database of "
                f"{self._keys.url_env}: {self.said(error)} (check {self._keys.url_env}, and that "
                "the server runs)"
            ) from self.cause(error)
        return connection

    def _opened(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except SQLAlchemyError:
            raise
        except Exception as error:  # the driver's, about what it was given: the URL's options
            raise SourceUnreachableError(self._unusable(error)) from error

    def said(self, error: BaseException) -> str:
        """Return what the driver says, in one line without secrets and without the statement."""
        return one_line(_driver_error(error), *self._secrets)

    def cause(self, error: BaseException) -> BaseException:
        """Return what to raise an error of ours from, by which it is known whether to try again."""
        if self._may_pass(error):
            return TransientSourceError(self.said(error))
        return _driver_error(error)

    def break_off(self, driver: Any, thread: int | None) -> None:
        """End what another thread does on this driver's connection; it cannot be used again.

        `thread` is the MySQL server's number of it.
        """
        with suppress(Exception):  # it may be closed or lost meanwhile
            if thread is None:
                (getattr(driver, "interrupt", None) or driver.cancel)()
                return
            # Ends a read from a server that hangs too. Fails if the connection is lost: then the
            # number may be that of another by now.
            driver._sock.shutdown(socket.SHUT_RDWR)
            with self._engine.connect() as connection:  # the server would work on until it writes
                connection.exec_driver_sql(f"KILL {int(thread)}")

    @staticmethod
    def abandon(driver: Any) -> None:
        """Keep pymysql from reading all rows that are left when it closes a connection."""
        result = getattr(driver, "_result", None)
        if result is not None:
            result.unbuffered_active = False

    def close(self) -> None:
        self._engine.dispose()

    def _make_engine(self) -> sa.Engine:
        try:
            dialect = self._url.get_dialect()()
            return sa.create_engine(
                self._url, poolclass=sa.NullPool, connect_args=self._arguments(dialect)
            )
        except (ImportError, NoSuchModuleError) as error:
            raise SettingError(
                f"dataset {self._dataset.name}: the URL in {self._keys.url_env} "
                f"{_lacking(error, self._url)}"
            ) from None
        except (ArgumentError, ValueError, TypeError) as error:
            raise SettingError(self._unusable(error)) from None

    def _unusable(self, error: Exception) -> str:
        options = ", ".join(self._url.query)
        return (
            f"dataset {self._dataset.name}: the URL in {self._keys.url_env} cannot be used: "
            f"{self.said(error)}; correct " + (f"its options: {options}" if options else "it")
        )

    def _arguments(self, dialect: sa.Dialect) -> Mapping[str, Any]:
        seconds = self._keys.connect_timeout_seconds
        if dialect.driver == "pymysql":
            from pymysql.converters import conversions

            kept = {k: v for k, v in conversions.items() if k not in _TEXT_FROM_PYMYSQL}
            return {
                "conv": kept,
                "charset": "utf8mb4",  # less cannot hold every character
                "connect_timeout": seconds,
                "read_timeout": seconds,
            }
        if dialect.driver in ("psycopg2", "psycopg"):
            return {"connect_timeout": seconds}
        if dialect.name == "sqlite":  # it is used, and interrupted, by several threads in turn
            return {"timeout": self._keys.lock_timeout_seconds, "check_same_thread": False}
        return {}

    def _session(self) -> tuple[str, ...]:
        if self.dialect.name == "sqlite":
            return ("PRAGMA query_only = ON",)
        if self.dialect.name in MYSQL:
            lock = math.ceil(self._keys.lock_timeout_seconds)
            # A target that is slow to take rows must not make the server give the reader up.
            write = math.ceil(self._keys.statement_timeout_seconds)
            return (
                f"SET time_zone = '+00:00', lock_wait_timeout = {lock}, "
                f"innodb_lock_wait_timeout = {lock}, net_write_timeout = {write}",
            )
        return ()

    def _check_file(self) -> None:
        """Raise SourceUnreachableError for a SQLite file that is not there: it would be made."""
        path = self._url.database
        if self.dialect.name != "sqlite" or "uri" in self._url.query:
            return
        if not path or path == ":memory:" or not Path(path).is_file():
            raise SourceUnreachableError(
                f"dataset {self._dataset.name}: the SQLite file {path!r} of {self._keys.url_env} "
                "is not there; correct the URL: sqlite:////absolute/path has four slashes"
            )

    def _may_pass(self, error: BaseException) -> bool:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        found = _driver_error(error)
        if self.dialect.name in MYSQL:
            return bool(found.args) and found.args[0] in _TRANSIENT_MYSQL
        return self.dialect.name == "sqlite" and bool(_BUSY_SQLITE.search(str(found)))


def _parsed(dataset: Dataset, keys: SqlSource, text: str) -> sa.URL:
    try:
        url, parts = sa.make_url(text), urlsplit(text)
        if parts.netloc and (may_cut_a_password(parts) or "@" in parts.query):
            raise ValueError
    except (ArgumentError, ValueError):
        raise SettingError(
            f"dataset {dataset.name}: {keys.url_env} is not a SQLAlchemy URL, such as "
            "mysql+pymysql://user:password@host:3306/database; a '/', '@', '#', '?' or '%' in the "
            "user name or password, and an '@' anywhere else, must be percent-encoded"
        ) from None
    if url.get_backend_name() in MYSQL and not url.drivername.endswith("+pymysql"):
        # Others turn a date 0000-00-00 into NULL.
        raise SettingError(
            f"dataset {dataset.name}: {keys.url_env} must begin with mysql+pymysql://, the "
            "driver through which MySQL and MariaDB are read"
        )
    return url


def _driver_error(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _secrets_in(url: sa.URL) -> tuple[str, ...]:
    values = (
        text
        for value in url.query.values()
        for text in (value if isinstance(value, tuple) else (value,))
    )
    in_query = [found for text in values for found in _ODBC_PASSWORD.findall(text)]
    return tuple(text for text in (str(url.password or ""), *in_query) if text)


def _lacking(error: Exception, url: sa.URL) -> str:
    """Return what is to be done about a dialect or a driver that is not installed."""
    backend = url.get_backend_name()
    if isinstance(error, ImportError) and error.name:
        package = _PACKAGES.get(error.name, error.name.partition(".")[0])
    elif backend in _PACKAGES:
        package = _PACKAGES[backend]
    else:
        return (
            f"begins with {url.drivername}://, which SQLAlchemy does not know; correct it, or "
            f"install a package with a dialect for {backend}"
        )
    return f"needs a driver that is not installed; run: pip install {package}"
