"""Opens database connections for the API's writes, one for each request.

Does not serve reads: see `database/pool.py`. Does not contain the statements: see
`tracking/state/requests.py`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.api.config import Config
from sync_pipeline.api.services import Services
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import BusyError, TrackingError, one_line
from sync_pipeline.settings import secrets_of

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_TIMEOUT_SECONDS = 60.0  # how long to wait for another request for the same batch
_SLOT_TIMEOUT_SECONDS = 2.0


@contextmanager
def write_connection(services: Services) -> Iterator["Cursor"]:
    """Yield a cursor in autocommit mode.

    The number of concurrent writes is limited, because each may occupy a thread while it waits for
    Dagster. Raises BusyError if the limit is reached, or TrackingError if the database fails.
    """
    if not services.write_slots.acquire(timeout=_SLOT_TIMEOUT_SECONDS):
        raise BusyError(
            "too many batches are being launched, retried or cancelled; try again in a moment"
        )
    try:
        with _connected(services.config) as cursor:
            yield cursor
    finally:
        services.write_slots.release()


@contextmanager
def _connected(config: Config) -> Iterator["Cursor"]:
    connection = connect(
        config.tracking_url,
        setting=config.tracking_setting,
        purpose="api, launching",
        error=TrackingError,
        statement_timeout_seconds=_TIMEOUT_SECONDS,
        idle_seconds=_TIMEOUT_SECONDS,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        try:
            yield cursor
        except psycopg2.Error as error:
            raise TrackingError(
                f"the database in {config.tracking_setting} rejected a write: "
                f"{one_line(error, *secrets_of(config.tracking_url))} (docs/operations.md lists "
                "the privileges that the API's role needs)"
            ) from error


@contextmanager
def transaction(cursor: "Cursor") -> Iterator[None]:
    """Run the block in one transaction."""
    cursor.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(psycopg2.Error):
            cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")
