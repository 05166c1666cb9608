"""`SyncStatusService`: the specification's two methods, for programs that write their own records.

Names and arguments are exactly those of the specification; the methods write the same table under
the same constraints. The pipeline itself does not use them: see `state/`.
"""

import logging
from datetime import date
from typing import Any

import psycopg2

from sync_pipeline.database import named_sql
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.settings import current_settings
from sync_pipeline.tracking.connection import connect_tracking
from sync_pipeline.tracking.worker.connection import LOCK_TIMEOUT_SECONDS

DEFAULT_DATASET = "default"
BATCH_MARK = "批量同步"
"""Consumers recognize batch records by this text in `remarks`."""

_SQL = named_sql.load(__package__, "service.sql")
_logger = logging.getLogger(__name__)


class SyncStatusService:
    """Writes records directly. Failures are logged and returned as None or False, not raised."""

    @staticmethod
    def create_or_update_status(
        sync_date: date,
        status: str,
        total_records: int = 0,
        success_count: int = 0,
        failed_count: int = 0,
        remarks: str | None = None,
        error_message: str | None = None,
        duration_seconds: int | None = None,
        dataset: str = DEFAULT_DATASET,
    ) -> int | None:
        """Create or update a record; return its ID, or None on failure.

        If the remarks contain 批量同步, it is a batch record: the opening form (批量同步: …) always
        creates one, and any other form updates the open batch for that date if there is one.
        Otherwise, it is the record of the day `sync_date`. The database sets the times.
        """
        values = {
            "sync_date": sync_date,
            "status": status,
            "total_records": total_records,
            "success_count": success_count,
            "failed_count": failed_count,
            "remarks": remarks,
            "error_message": error_message,
            "duration_seconds": duration_seconds,
            "dataset": dataset,
        }
        record_id: int | None = _logged(_create_or_update, values)
        return record_id

    @staticmethod
    def update_status(
        record_id: int,
        status: str | None = None,
        total_records: int | None = None,
        success_count: int | None = None,
        failed_count: int | None = None,
        duration_seconds: int | None = None,
        error_message: str | None = None,
        remarks: str | None = None,
    ) -> bool:
        """Update the given fields of a record by its ID; return whether a record was updated.

        A final status sets `end_time` and, if not given, `duration_seconds` (whole seconds since
        `start_time`); `syncing` clears both.
        """
        values = {
            "record_id": record_id,
            "status": status,
            "total_records": total_records,
            "success_count": success_count,
            "failed_count": failed_count,
            "duration_seconds": duration_seconds,
            "error_message": error_message,
            "remarks": remarks,
        }
        return bool(_logged(_update, values))


def _create_or_update(cursor: Any, values: dict[str, Any]) -> int:
    text = values["remarks"] or ""
    if BATCH_MARK not in text:
        cursor.execute(_SQL["upsert_day"], values)
        return int(cursor.fetchone()[0])
    if not text.startswith(f"{BATCH_MARK}:"):
        cursor.execute(_SQL["find_open_batch"], values)
        row = cursor.fetchone()
        if row is not None:
            _update(cursor, {**values, "record_id": row[0]})
            return int(row[0])
    cursor.execute(_SQL["insert_batch"], values)
    return int(cursor.fetchone()[0])


def _update(cursor: Any, values: dict[str, Any]) -> bool:
    cursor.execute(_SQL["update"], values)
    return bool(cursor.rowcount == 1)


def _logged(work: Any, values: dict[str, Any]) -> Any:
    """Run `work` in its own transaction and return its result; if it fails, log that and return
    None."""
    try:
        settings = current_settings()
        connection = connect_tracking(
            settings, "SyncStatusService", statement_timeout_seconds=LOCK_TIMEOUT_SECONDS
        )
        try:
            with connection, connection.cursor() as cursor:
                return work(cursor, values)
        finally:
            connection.close()
    except (psycopg2.Error, SyncError, ValueError) as error:  # ValueError: a NUL in a string
        _logger.error("更新同步记录失败 (could not write the status record): %s", one_line(error))
        return None
