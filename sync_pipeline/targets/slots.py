"""`SourceSlot`: limit how many workers read a source at the same time, across all runs.

A slot is a session-level advisory lock in the target database, so it is released when its worker
ends, even after a crash. If the target restarts, all slots are released, even if their workers are
still reading. A Dagster pool cannot be used, because it belongs to an op, and all datasets share
the op of the batch job. Does not lock days: see `locks.py`.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TargetError, TargetUnreachableError, one_line
from sync_pipeline.settings import DATABASE_URL, Settings
from sync_pipeline.targets.locks import session_purposes

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

POLL_SECONDS = 0.5
_TRY_LOCK = """
SELECT slot FROM generate_series(1, %(max)s) AS slot
WHERE pg_try_advisory_lock(hashtext(%(key)s), slot) LIMIT 1
"""


class SourceSlot:
    """One of `max_slots` slots for the source whose URL is in the setting `url_env`."""

    def __init__(
        self, settings: Settings, url_env: str, max_slots: int, run_id: str | None = None
    ) -> None:
        self._settings = settings
        self._purpose = "slot" if run_id is None else session_purposes(run_id)[1]
        self._values = {"key": f"sync_pipeline source: {url_env}", "max": max_slots}
        self._connection: Connection | None = None

    def acquire(self, sleep: Callable[[float], object] | None) -> bool:
        """Acquire a slot, unless one is already held; return whether one is held now.

        If no slot is free, call `sleep` until one is, or return False if `sleep` is None. Raises
        TargetUnreachableError or TargetError.
        """
        if self._connection is not None and not self._connection.closed:
            return True
        self._connection = connect(
            self._settings.database_url,
            setting=DATABASE_URL,
            purpose=self._purpose,
            error=TargetUnreachableError,
            server_keepalives=True,
            autocommit=True,
        )
        while not self._try_lock(self._connection):
            if sleep is None:
                self.release()
                return False
            sleep(POLL_SECONDS)
        return True

    def release(self) -> None:
        """Release the slot, if one is held."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg2.Error):
                connection.close()

    def _try_lock(self, connection: "Connection") -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute(_TRY_LOCK, self._values)
                return cursor.fetchone() is not None
        except psycopg2.Error as error:
            self.release()
            raise TargetError(f"cannot acquire a source slot: {one_line(error)}") from error
