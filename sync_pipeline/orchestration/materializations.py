"""Telling Dagster of each finished day: one AssetMaterialization per partition.

Dagster stores an event in several statements on connections it opens anew each time, which costs
more than many a day's rows. So the events of quick days are stored together, in one statement,
and on a connection that stays open. A day that takes half a second or longer is told at once.
"""

import os
import time

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata
from dagster._core.utils import make_new_run_id
from dagster_postgres import PostgresEventLogStorage

from sync_pipeline.settings import Settings
from sync_pipeline.sync import DayResult, Outcome

_FLUSH_SECONDS = 0.5
_FLUSH_DAYS = 50
_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"


class MaterializationLog:
    """Logs days as materialized, a few at a time. Use as a context manager: leaving flushes."""

    def __init__(
        self, context: dg.OpExecutionContext, asset_key: dg.AssetKey, settings: Settings
    ) -> None:
        self._context = context
        self._asset_key = asset_key
        self._settings = settings
        self._waiting: list[dg.AssetMaterialization] = []
        self._flushed_at = time.monotonic()
        keep_connection_open(context.instance)

    def add(self, result: DayResult) -> None:
        """Log `result`'s day if it is in: loaded just now, or already in and skipped."""
        if result.outcome is Outcome.FAILED:
            return
        self._waiting.append(
            dg.AssetMaterialization(
                asset_key=self._asset_key,
                partition=result.day.isoformat(),
                metadata=_metadata(result, self._settings),
            )
        )
        due = time.monotonic() - self._flushed_at >= _FLUSH_SECONDS
        if due or len(self._waiting) >= _FLUSH_DAYS:
            self.flush()

    def flush(self) -> None:
        """Store what waits, as one batch of events."""
        waiting, self._waiting = self._waiting, []
        step = self._context.get_step_execution_context()
        batch_id = make_new_run_id()
        for number, materialization in enumerate(waiting, 1):
            DagsterEvent.asset_materialization(
                step,
                materialization,
                DagsterEventBatchMetadata(batch_id, is_end=number == len(waiting)),
            )
        self._flushed_at = time.monotonic()

    def __enter__(self) -> "MaterializationLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


def keep_connection_open(instance: dg.DagsterInstance) -> None:
    """Let this process's event log use one pooled connection, and store events in batches."""
    os.environ.setdefault(_BATCH_SIZE, str(_FLUSH_DAYS))
    storage = instance.event_log_storage
    if isinstance(storage, PostgresEventLogStorage) and not hasattr(storage, "_sync_pipeline"):
        storage.optimize_for_webserver(
            statement_timeout=600_000, pool_recycle=3600, max_overflow=20
        )
        storage._sync_pipeline = True  # type: ignore[attr-defined]


def _metadata(result: DayResult, settings: Settings) -> dict[str, dg.MetadataValue]:
    if result.outcome is Outcome.SKIPPED:
        return {"skipped": dg.MetadataValue.bool(True)}
    metadata: dict[str, dg.MetadataValue] = {"seconds": dg.MetadataValue.float(result.seconds)}
    if result.counts is not None:
        metadata |= {
            "dagster/partition_row_count": dg.MetadataValue.int(result.counts.rows_loaded),
            "rows": dg.MetadataValue.int(result.counts.rows_loaded),
            "bytes": dg.MetadataValue.int(result.counts.bytes),
        }
    if result.attempt is not None:
        record_id = result.attempt.record_id
        metadata |= {
            "record": dg.MetadataValue.url(f"{settings.page_url}/sync-status/{record_id}")
            if settings.page_url
            else dg.MetadataValue.text(f"daily_sync_status, id {record_id}"),
            "attempt": dg.MetadataValue.int(result.attempt.number),
        }
    return metadata
