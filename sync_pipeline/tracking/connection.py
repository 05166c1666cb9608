"""Connections to the tracking tables, for reading or writing.

Does not reconnect a worker or keep its pending writes: see `worker/connection.py`. Does not pool
the API's read-only connections: see `database/pool.py`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TrackingError, one_line
from sync_pipeline.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def connect_tracking(settings: Settings, purpose: str, **limits: Any) -> "Connection":
    """Return a connection to the tracking tables; `limits` are passed to `connections.connect`.

    `purpose` becomes part of the session's `application_name`. Raises TrackingError if the
    connection fails.
    """
    return connect(
        settings.tracking_url,
        setting=settings.tracking_setting,
        purpose=purpose,
        error=TrackingError,
        **limits,
    )


@contextmanager
def tracking_transaction(settings: Settings, purpose: str = "records") -> Iterator["Cursor"]:
    """Yield a cursor in one transaction.

    Raises TrackingError if the connection fails, or psycopg2.Error if a statement fails.
    """
    with (
        closing(connect_tracking(settings, purpose)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        yield cursor


@contextmanager
def read_tracking(settings: Settings) -> Iterator["Cursor"]:
    """Yield a read-only cursor in autocommit mode: each statement sees the latest committed data.

    Raises TrackingError if the tables cannot be reached or read.
    """
    with (
        closing(
            connect_tracking(settings, "status", read_only=True, autocommit=True)
        ) as connection,
        connection.cursor() as cursor,
    ):
        try:
            yield cursor
        except psycopg2.Error as error:
            raise TrackingError(
                f"cannot read the tracking tables in the {settings.tracking_setting} database: "
                f"{one_line(error)} (try again; to diagnose: sync-pipeline doctor)"
            ) from error
