"""Open PostgreSQL connections with timeouts, an application name, and fixed session settings.

Every connection shows its purpose in `pg_stat_activity` and has a connect timeout and TCP
keepalives to detect a dead peer. Settings that change how values or names are written or read as
text are the same in every session, whatever the server, the database or the role sets. Error
messages name the setting that the URL came from, but never contain its value. Does not pool
connections: see `pool.py`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.extensions

from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.settings import secrets_of

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

DEFAULT_CONNECT_TIMEOUT_SECONDS = 10
_KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
# What pg_dump sets for the same reason, and the other settings of its kind.
_TEXT_FORMAT = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",  # the default up to PostgreSQL 11 loses digits
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "xmloption": "content",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
}
_SERVER_KEEPALIVES = {name: _KEEPALIVES[name] for name in _KEEPALIVES if name != "keepalives"}


def connect(
    url: str,
    *,
    setting: str,
    purpose: str,
    error: Callable[[str], SyncError],
    connect_timeout_seconds: int = DEFAULT_CONNECT_TIMEOUT_SECONDS,
    statement_timeout_seconds: float | None = None,
    silence_seconds: int | None = None,
    idle_seconds: float | None = None,
    read_only: bool = False,
    autocommit: bool = False,
    server_keepalives: bool = False,
) -> "Connection":
    """Return an open connection to `url`.

    `setting` is the environment variable that contains the URL. `purpose` (such as
    ``sync flights``) becomes part of `application_name`. With `silence_seconds`, the connection is
    closed if sent data is not acknowledged for that long. With `idle_seconds`, the server
    terminates a session that is idle in a transaction for that long; otherwise a stopped process
    would keep its locks forever. With `server_keepalives`, the server probes an idle client (even
    during COPY) and terminates a dead client's session after about a minute instead of two hours.

    Raises `error` with a one-line message that names the setting and does not contain the password.
    """
    options = [f"-c {name}={value}" for name, value in _TEXT_FORMAT.items()]
    options.append("-c client_min_messages=warning")
    if statement_timeout_seconds is not None:
        options.append(f"-c statement_timeout={int(statement_timeout_seconds * 1000)}")
    if idle_seconds is not None:
        options.append(f"-c idle_in_transaction_session_timeout={int(idle_seconds * 1000)}")
    if server_keepalives:
        options += [f"-c tcp_{name}={value}" for name, value in _SERVER_KEEPALIVES.items()]
    if read_only:
        options.append("-c default_transaction_read_only=on")
    try:
        parameters = psycopg2.extensions.parse_dsn(url)
        # Options in the URL come last, so that they take precedence.
        options.append(parameters.pop("options", ""))
        parameters.setdefault("application_name", f"sync_pipeline: {purpose}")
        parameters.setdefault("connect_timeout", str(connect_timeout_seconds))
        if silence_seconds is not None:
            parameters.setdefault("tcp_user_timeout", str(silence_seconds * 1000))
            parameters.setdefault("keepalives_idle", str(silence_seconds))
        parameters |= {"options": " ".join(options).strip(), "client_encoding": "UTF8"}
        connection: Connection = psycopg2.connect(**{**_KEEPALIVES, **parameters})
    except psycopg2.Error as failure:
        raise error(
            f"cannot connect to the database in {setting}: "
            f"{one_line(failure, *secrets_of(url))} "
            f"(check {setting}, and that the server is running)"
        ) from None
    connection.autocommit = autocommit
    return connection
