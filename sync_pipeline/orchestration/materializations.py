"""Telling Dagster of each finished day: one AssetMaterialization per partition.

Storing an event costs more than many a day's rows, so the events of quick days are stored together.
A day that takes half a second or longer is told at once.
"""

import time

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata
from dagster._core.utils import make_new_run_id

from sync_pipeline.orchestration.storage import EVENTS_AT_ONCE
from sync_pipeline.settings import Settings
from sync_pipeline.sync import DayResult, Outcome

_FLUSH_SECONDS = 0.5


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
        if due or len(self._waiting) >= EVENTS_AT_ONCE:
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
