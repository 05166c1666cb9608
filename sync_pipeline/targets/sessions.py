"""Terminate the sessions that a lost worker has left open in the target database.

A worker that is suspended, or whose machine is down, still holds its day's lock and its source
slot: the server takes a while to detect a dead client, and never detects a suspended one. Does not
decide which workers are lost: see `orchestration/recovery/`.
"""

from typing import TYPE_CHECKING

from sync_pipeline.targets.locks import session_purposes

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_WAIT_MILLISECONDS = 5000
_TERMINATE = """
SELECT count(*) FROM (
    SELECT pg_terminate_backend(pid, %(wait)s) AS ended FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name = ANY(%(names)s)) AS sessions
WHERE ended
"""


def terminate_sessions(cursor: "Cursor", run_id: str) -> int:
    """Terminate the sessions of a run's worker, wait up to 5 seconds for each, and return how many
    have ended. Their uncommitted changes are rolled back."""
    names = [f"sync_pipeline: {purpose}" for purpose in session_purposes(run_id)]
    cursor.execute(_TERMINATE, {"wait": _WAIT_MILLISECONDS, "names": names})
    row = cursor.fetchone()
    return 0 if row is None else int(row[0])
