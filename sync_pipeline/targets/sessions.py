"""Sessions at the target that a worker leaves behind when it is lost, and their end.

A worker that is stopped, or whose machine is gone, keeps what its sessions hold: the lock of its
day, its slot at the source. The server notices a client that is gone only after a while, one that
is stopped never.
"""

from typing import TYPE_CHECKING

from sync_pipeline.targets.locks import sessions_of

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_WAIT_MILLISECONDS = 5000
_END = """
SELECT count(*) FROM (
    SELECT pg_terminate_backend(pid, %(wait)s) AS ended FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name = ANY(%(names)s)) AS sessions
WHERE ended
"""


def end_sessions(cursor: "Cursor", run_id: str) -> int:
    """End the sessions of the run's worker, and return how many that were once they are gone.

    What they had not committed is rolled back.
    """
    names = [f"sync_pipeline: {purpose}" for purpose in sessions_of(run_id)]
    cursor.execute(_END, {"wait": _WAIT_MILLISECONDS, "names": names})
    row = cursor.fetchone()
    return 0 if row is None else int(row[0])
