"""Decides whether a worker can record a day in the transaction that loads it.

That requires the tracking tables to be in the target database. The URLs cannot tell: two of them
may name the same database with different roles, host names or ports. Does not record days: see
`tracker.py`.
"""

import secrets
from contextlib import closing
from typing import TYPE_CHECKING

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TargetUnreachableError
from sync_pipeline.settings import DATABASE_URL, Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_TABLES = ("daily_sync_status", "sync_attempt")
_STATEMENT_SECONDS = 30.0
# Only sessions of the same database on the same server share advisory locks.
_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_IS_LOCKED = "SELECT NOT pg_try_advisory_xact_lock(%s)"
_IDS = "SELECT array_agg(to_regclass(name)::oid ORDER BY name) FROM unnest(%s) AS name"
_CAN_WRITE = """
SELECT bool_and(has_table_privilege(to_regclass(name), privilege))
       AND has_function_privilege(to_regproc('sync_record_outcome'), 'EXECUTE')
FROM unnest(%s) AS name, unnest(ARRAY['SELECT', 'UPDATE']) AS privilege
"""


def target_has_tables(tracking: "Connection", settings: Settings) -> bool:
    """Return whether the target user can write to the tables that `tracking` is connected to.

    `tracking` has no open transaction. Raises TargetUnreachableError if the target cannot be
    reached, or psycopg2.Error.
    """
    key = secrets.randbits(63)
    target = connect(
        settings.database_url,
        setting=DATABASE_URL,
        purpose="same database",
        error=TargetUnreachableError,
        statement_timeout_seconds=_STATEMENT_SECONDS,
    )
    with closing(target), target, target.cursor() as in_target:
        in_target.execute(_LOCK, [key])
        with tracking, tracking.cursor() as cursor:
            cursor.execute(_IS_LOCKED, [key])
            if cursor.fetchone() != (True,):
                return False
            cursor.execute(_IDS, [list(_TABLES)])
            tables = cursor.fetchone()
        # The roles may have different search paths.
        in_target.execute(_IDS, [list(_TABLES)])
        if in_target.fetchone() != tables:
            return False
        in_target.execute(_CAN_WRITE, [list(_TABLES)])
        return bool(in_target.fetchone() == (True,))
