"""Write a day's rows to the target table in PostgreSQL.

Does not read sources or record days: see `sources/` and `tracking/`.
"""

from typing import TYPE_CHECKING

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TargetUnreachableError
from sync_pipeline.settings import DATABASE_URL, Settings
from sync_pipeline.targets.locks import IDLE_SECONDS

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812


def open_target(dataset: Dataset, settings: Settings, purpose: str | None = None) -> "Connection":
    """Return a connection to the target database, without autocommit. The caller must close it.

    `purpose` is shown in `pg_stat_activity`, and in the error raised by a worker that cannot lock a
    day because this session holds the lock. It defaults to ``sync`` and the dataset's name. Raises
    SettingError if `SYNC_DATABASE_URL` is not set, and TargetUnreachableError if the database
    cannot be reached.
    """
    return connect(
        settings.database_url,
        setting=DATABASE_URL,
        purpose=purpose or f"sync {dataset.name}",
        error=TargetUnreachableError,
        statement_timeout_seconds=dataset.target.statement_timeout_seconds,
        idle_seconds=IDLE_SECONDS,
        server_keepalives=True,
    )
