"""Read access to Dagster's storage database, without importing dagster.

Does not configure that storage: see `dagster.yaml` and `local/stack.py`.
"""

from typing import TYPE_CHECKING

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import StackError
from sync_pipeline.settings import DAGSTER_STORAGE_URL, Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812


def connect_to_storage(settings: Settings, purpose: str) -> "Connection":
    """Return a read-only connection to Dagster's storage. Raises StackError if that fails."""
    url = settings.dagster_storage_url.replace("postgresql+psycopg2://", "postgresql://")
    return connect(
        url, setting=DAGSTER_STORAGE_URL, purpose=purpose, error=StackError, read_only=True
    )
