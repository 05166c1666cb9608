"""How many workers may read a source at once, over all runs, however they were launched.

A slot is an advisory lock that a session at the target holds, so that it is free again when its
worker ends, however it ends; a target that restarts frees them all, also of workers that read on.
(A pool of Dagster's belongs to an op, and the batch job's serves all
datasets.)
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TargetError, TargetUnreachableError, one_line
from sync_pipeline.settings import DATABASE_URL, Settings
from sync_pipeline.targets.locks import sessions_of

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

LOOK_SECONDS = 0.5
_TAKE = """
SELECT slot FROM generate_series(1, %(most)s) AS slot
WHERE pg_try_advisory_lock(hashtext(%(key)s), slot) LIMIT 1
"""


class Slot:
    """One of `most` slots at the source that the setting `url_env` names."""

    def __init__(
        self, settings: Settings, url_env: str, most: int, run_id: str | None = None
    ) -> None:
        self._settings = settings
        self._purpose = "slot" if run_id is None else sessions_of(run_id)[1]
        self._values = {"key": f"sync_pipeline source: {url_env}", "most": most}
        self._connection: Connection | None = None

    def take(self, sleep: Callable[[float], object] | None) -> bool:
        """Take a free slot, waiting for one by `sleep` if that is given; return whether it was got.

        A slot that is held already stays. Raises TargetUnreachableError, TargetError.
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
        while not self._taken(self._connection):
            if sleep is None:
                self.free()
                return False
            sleep(LOOK_SECONDS)
        return True

    def free(self) -> None:
        """Let another have the slot. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg2.Error):
                connection.close()

    def _taken(self, connection: "Connection") -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute(_TAKE, self._values)
                return cursor.fetchone() is not None
        except psycopg2.Error as error:
            self.free()
            raise TargetError(f"no slot at the source can be taken: {one_line(error)}") from error
