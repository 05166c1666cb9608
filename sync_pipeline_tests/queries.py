"""Run statements on connections that stay open: connecting costs more than most queries."""

import threading
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extras import RealDictCursor

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_connections = threading.local()


def query(url: str, statement: Any, values: Any = None, **options: Any) -> list[dict[str, Any]]:
    """Run a statement in autocommit mode on this thread's connection to `url`; return its rows.

    `options` are used to connect.
    """
    connections = vars(_connections)
    if url in connections:
        try:
            return _execute(connections[url], statement, values)
        except psycopg2.Error as error:
            # The connection was lost: the server was restarted (which has no error code), or the
            # database was dropped.
            if error.pgcode is not None and not connections[url].closed:
                raise
    connections[url] = psycopg2.connect(url, cursor_factory=RealDictCursor, **options)
    connections[url].autocommit = True
    return _execute(connections[url], statement, values)


def _execute(connection: "Connection", statement: Any, values: Any) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [dict(row) for row in cursor.fetchall()] if cursor.description else []
