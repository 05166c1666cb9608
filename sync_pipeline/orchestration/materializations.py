"""Telling Dagster of each finished day: one AssetMaterialization per partition.

Storing an event costs more than many a day's rows, so the events of quick days are stored together.
A day that takes half a second or longer is told at once.
"""

import time

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
)
from dagster._core.utils import make_new_run_id

from sync_pipeline.orchestration import identity
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
        """Log `result`'s day: as materialized if it is in, loaded just now or skipped; else as
        failed."""
        if result.outcome is Outcome.FAILED:
            self._plan(result)
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

    def _plan(self, result: DayResult) -> None:
        """Say that the run meant to materialize the day: as it will not, Dagster shows it failed.

        For a run of the asset Dagster has said so itself when the run was created.
        """
        if self._context.job_name == identity.BATCH_JOB_NAME:
            event = DagsterEvent.build_asset_materialization_planned_event(
                self._context.job_name,
                self._context.get_step_execution_context().step.key,
                AssetMaterializationPlannedData(self._asset_key, result.day.isoformat()),
            )
            self._context.instance.report_dagster_event(event, self._context.run_id)

    def __enter__(self) -> "MaterializationLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


def _metadata(result: DayResult, settings: Settings) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    if result.synced is not None:
        synced = result.synced
        metadata["skipped"] = dg.MetadataValue.bool(True)
        rows, record_id, attempt = synced.rows_loaded, synced.record_id, synced.attempt
    else:
        rows = result.counts.rows_loaded if result.counts else 0
        metadata["bytes"] = dg.MetadataValue.int(result.counts.bytes if result.counts else 0)
        metadata["seconds"] = dg.MetadataValue.float(round(result.seconds, 3))
        if result.attempt is None:  # it could not be recorded
            return {**_rows(rows), **metadata}
        record_id, attempt = result.attempt.record_id, result.attempt.number
    record = (
        dg.MetadataValue.url(f"{settings.page_url}/sync-status/{record_id}")
        if settings.page_url
        else dg.MetadataValue.text(f"daily_sync_status, id {record_id}")
    )
    return {
        **_rows(rows),
        **metadata,
        "attempt": dg.MetadataValue.int(attempt),
        "record": record,
    }


def _rows(rows: int) -> dict[str, dg.MetadataValue]:
    # The second is Dagster's own word for it, which its asset pages show by itself.
    count = dg.MetadataValue.int(rows)
    return {"rows": count, "dagster/partition_row_count": count}
