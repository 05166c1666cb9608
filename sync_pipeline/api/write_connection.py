"""A connection on which the API may write: of its own for each request, which are few."""

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

_PATIENCE_SECONDS = 60.0  # as long as somebody else's request for the same may take
_TURN_SECONDS = 2.0


@contextmanager
def writing(given: Services) -> Iterator["Cursor"]:
    """A cursor each of whose statements is committed by itself. Raises TrackingError.

    A few at once, since each may wait for Dagster: readers are to have threads left.
    """
    if not given.writers.acquire(timeout=_TURN_SECONDS):
        raise BusyError("too much is being launched or cancelled at once; try again in a moment")
    try:
        with _connected(given.config) as cursor:
            yield cursor
    finally:
        given.writers.release()


@contextmanager
def _connected(config: Config) -> Iterator["Cursor"]:
    connection = connect(
        config.tracking_url,
        setting=config.tracking_setting,
        purpose="api, launching",
        error=TrackingError,
        statement_timeout_seconds=_PATIENCE_SECONDS,
        idle_seconds=_PATIENCE_SECONDS,
        autocommit=True,
    )
    with closing(connection), connection.cursor() as cursor:
        try:
            yield cursor
        except psycopg2.Error as error:
            raise TrackingError(
                f"the database of {config.tracking_setting} refused: "
                f"{one_line(error, *secrets_of(config.tracking_url))} (see docs/operations.md for "
                "what the API's role needs)"
            ) from error


@contextmanager
def transaction(cursor: "Cursor") -> Iterator[None]:
    """Let the block be one transaction."""
    cursor.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(psycopg2.Error):
            cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")
