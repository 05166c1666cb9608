"""Report finished days to Dagster: one AssetMaterialization per partition.

Storing an event can take longer than syncing a small day, so the events of quick days are stored in
batches, in a second thread, while the next days are synced. A day that takes half a second or
longer is reported immediately.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import dagster as dg
from dagster import AssetRecordsFilter

from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.dagster.internals import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    make_new_run_id,
)
from sync_pipeline.orchestration.dagster.storage import MAX_EVENTS_PER_BATCH
from sync_pipeline.settings import Settings
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline.tracking.models import UnreportedDay
from sync_pipeline.tracking.worker.tracker import Tracker

_FLUSH_SECONDS = 0.5
_ATTEMPT = "attempt"


class MaterializationLog:
    """A context manager that logs materializations in batches and flushes them at the end."""

    def __init__(
        self,
        context: dg.OpExecutionContext,
        asset_key: dg.AssetKey,
        settings: Settings,
        tracker: Tracker,
    ) -> None:
        self._context = context
        self._asset_key = asset_key
        self._settings = settings
        self._tracker = tracker
        self._pending: list[DayResult] = []
        self._storing: list[DayResult] = []  # the days of the batch that is being stored
        self._stored: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, "store events")
        self._flushed_at = time.monotonic()

    def add(self, result: DayResult) -> None:
        """Log the day as materialized if it was synced or skipped, otherwise as failed."""
        if result.outcome is Outcome.FAILED:
            self._log_planned(result)
            return
        self._pending.append(result)
        due = time.monotonic() - self._flushed_at >= _FLUSH_SECONDS
        if due or len(self._pending) >= MAX_EVENTS_PER_BATCH:
            self.flush()

    def flush(self) -> None:
        """Start to store the pending events as one batch, once the batch before it is stored."""
        self._finish()
        self._storing, self._pending = self._pending, []
        self._stored = self._thread.submit(self._store, self._storing)
        self._flushed_at = time.monotonic()

    def _finish(self) -> None:
        """Wait until the batch is stored, and record that its days were reported."""
        if self._stored is not None:
            self._stored.result()
            self._tracker.mark_reported([r.attempt for r in self._storing if r.attempt])
            self._stored = None

    def _store(self, results: Sequence[DayResult]) -> None:
        step = self._context.get_step_execution_context()
        batch_id = make_new_run_id()
        for number, result in enumerate(results, 1):
            DagsterEvent.asset_materialization(
                step,
                dg.AssetMaterialization(
                    self._asset_key,
                    partition=result.day.isoformat(),
                    metadata=_metadata(result, self._settings),
                ),
                DagsterEventBatchMetadata(batch_id, is_end=number == len(results)),
            )

    def _log_planned(self, result: DayResult) -> None:
        """Log the day as planned, so that Dagster shows it as failed if it is not materialized.

        For a run of the asset, Dagster itself does this when it creates the run.
        """
        if self._context.job_name == tags.BATCH_JOB_NAME:
            event = DagsterEvent.build_asset_materialization_planned_event(
                self._context.job_name,
                self._context.get_step_execution_context().step.key,
                AssetMaterializationPlannedData(self._asset_key, result.day.isoformat()),
            )
            self._context.instance.report_dagster_event(event, self._context.run_id)

    def __enter__(self) -> "MaterializationLog":
        return self

    def __exit__(self, *_: object) -> None:
        with self._thread:
            self.flush()
            self._finish()


def report_late(instance: dg.DagsterInstance, settings: Settings, day: UnreportedDay) -> bool:
    """Report a synced day to Dagster outside a run; return False if it was already reported."""
    key, partition = dg.AssetKey(day.dataset), day.day.isoformat()
    same_day = AssetRecordsFilter(key, asset_partitions=[partition])
    for record in instance.fetch_materializations(same_day, limit=1).records:
        latest = record.asset_materialization
        attempt = latest.metadata.get(_ATTEMPT) if latest is not None else None
        if attempt is not None and int(str(attempt.value)) >= day.number:
            return False
    metadata = {
        **_rows(day.rows_loaded),
        "bytes": dg.MetadataValue.int(day.bytes),
        "seconds": dg.MetadataValue.float(round(day.seconds, 3)),
        **_record(day.record_id, day.number, settings),
    }
    instance.report_runless_asset_event(
        dg.AssetMaterialization(key, partition=partition, metadata=metadata)
    )
    return True


def _metadata(result: DayResult, settings: Settings) -> dict[str, dg.MetadataValue]:
    if result.synced is not None:
        return {
            **_rows(result.synced.rows_loaded),
            "skipped": dg.MetadataValue.bool(True),
            **_record(result.synced.record_id, result.synced.attempt, settings),
        }
    # Skipped because this batch synced the day earlier; it has since failed in another batch.
    if result.outcome is Outcome.SKIPPED:
        return {"skipped": dg.MetadataValue.bool(True)}
    counts, attempt = result.counts, result.attempt
    return {
        **_rows(counts.rows_loaded if counts else 0),
        "bytes": dg.MetadataValue.int(counts.bytes if counts else 0),
        "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
        # There is no attempt if the day could not be recorded.
        **(_record(attempt.record_id, attempt.number, settings) if attempt else {}),
    }


def _rows(rows: int) -> dict[str, dg.MetadataValue]:
    # Dagster shows the second key on its asset pages.
    count = dg.MetadataValue.int(rows)
    return {"rows": count, "dagster/partition_row_count": count}


def _record(record_id: int, attempt: int, settings: Settings) -> dict[str, dg.MetadataValue]:
    record = (
        dg.MetadataValue.url(f"{settings.page_url}/sync-status/{record_id}")
        if settings.page_url
        else dg.MetadataValue.text(f"daily_sync_status, id {record_id}")
    )
    return {_ATTEMPT: dg.MetadataValue.int(attempt), "record": record}
