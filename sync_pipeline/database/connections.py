"""Opening connections, always with bounds, a name, and UTC.

Every connection is named in `pg_stat_activity` by what it does, gives up connecting after a
bound, notices a dead peer through TCP keepalives, and speaks UTC, so that a timestamp means the
same whatever the server's configuration. The settings named by a caller appear in its errors;
their values never do.
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
_KEEPALIVES_OF_SERVER = {name: _KEEPALIVES[name] for name in _KEEPALIVES if name != "keepalives"}


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

    `setting` is the environment variable the URL came from and `purpose` what the connection is
    for, such as ``sync flights``: it becomes `application_name`. A peer over the network that
    acknowledges nothing is given up after `silence_seconds`, sooner than by default. With
    `idle_seconds`, the server ends a session that does nothing for so long in a transaction: one
    of a process that is stopped would keep its locks for good. With `server_keepalives`, the server
    looks after a client over the network that says nothing, in COPY too, and ends the session of
    one that is gone in a minute or so, not in two hours. A failure raises `error` with a
    one-line text that names the setting, without the password.
    """
    options = [
        "-c TimeZone=UTC",
        "-c DateStyle=ISO",
        "-c IntervalStyle=postgres",
        "-c client_min_messages=warning",
    ]
    if statement_timeout_seconds is not None:
        options.append(f"-c statement_timeout={int(statement_timeout_seconds * 1000)}")
    if idle_seconds is not None:
        options.append(f"-c idle_in_transaction_session_timeout={int(idle_seconds * 1000)}")
    if server_keepalives:
        options += [f"-c tcp_{name}={value}" for name, value in _KEEPALIVES_OF_SERVER.items()]
    if read_only:
        options.append("-c default_transaction_read_only=on")
    try:
        parameters = psycopg2.extensions.parse_dsn(url)
        # What the URL itself says comes last, so that it wins.
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
            f"cannot connect to the database of {setting}: "
            f"{one_line(failure, *secrets_of(url))} (check {setting}, and that the server runs)"
        ) from None
    connection.autocommit = autocommit
    return connection
