"""A worker's two ends: the source it reads and the target it loads, and its slot at the source.

They are opened when they are first needed, and anew when a connection was lost.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SourceUnreachableError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import Source
from sync_pipeline.targets import open_target
from sync_pipeline.targets.locks import purpose_of
from sync_pipeline.targets.postgres import Target
from sync_pipeline.targets.slots import Slot
from sync_pipeline.tracking.worker.outbox import Outbox
from sync_pipeline.tracking.worker.tracker import Tracker


class WorkerConnections:
    """Of one worker at one dataset. One thread uses them; `break_off` is for another."""

    def __init__(
        self, dataset: Dataset, settings: Settings, tracker: Tracker, logger: logging.Logger
    ) -> None:
        self._dataset = dataset
        self._settings = settings
        self._tracker = tracker
        self._logger = logger
        self._source: Source | None = None
        self._target: Target | None = None
        slots = dataset.source.slots
        self._slot = None if slots is None else Slot(settings, *slots, tracker.run_id)

    @property
    def source(self) -> Source:
        """The source, which was opened before."""
        assert self._source is not None  # noqa: S101  open_source came first
        return self._source

    def open_target(self) -> Target:
        """Open the target if it is not open, or no longer, for the rows that come; return it.

        If its table is missing, the days that are recorded as in are not in any more.
        """
        if self._target is None or self._target.connection.closed:
            purpose = purpose_of(self._dataset, self._tracker.run_id)
            connection = open_target(self._dataset, self._settings, purpose)
            target = Target(connection, self._dataset, self._invalidate_days)
            try:
                if self._source is None:
                    target.look()
                else:
                    target.prepare(self._source.shape)
            except BaseException:
                connection.close()
                raise
            self._target = target
        return self._target

    def open_source(self, sleep: Callable[[float], object] | None) -> None:
        """Open the source, and make the target's table fit it. Raises SyncError.

        If all slots at the source are taken, one is waited for by `sleep`; without it,
        SourceUnreachableError.
        """
        if self._slot is not None and not self._slot.take(sleep):
            raise SourceUnreachableError(
                f"dataset {self._dataset.name}: as many workers read the source as its "
                "max_connections lets"
            )
        if self._source is None:
            self._source = open_source(self._dataset, self._settings)
        name, shape = self._dataset.name, self._source.shape
        columns = {column.name: column.type for column in shape.columns}
        former = self._tracker.source_columns(name)
        changes = self.open_target().prepare(shape, former)
        for change in changes:
            self._logger.warning("dataset %s: %s", name, change)
        if changes or columns != former:
            self._tracker.remember_columns(name, columns, changes)

    def break_off(self) -> None:
        """Break off what another thread does with them; harmless if it does nothing."""
        target, source = self._target, self._source
        if target is not None:
            with suppress(psycopg2.Error):  # closed or lost meanwhile
                target.connection.cancel()
        if source is not None:
            source.cancel()

    def roll_back(self) -> None:
        """Undo what the target's connection did since its last commit."""
        if self._target is None:
            return
        try:
            self._target.connection.rollback()
        except psycopg2.Error:
            # The server rolls back by itself what a lost connection leaves behind.
            self._target.connection.close()

    @property
    def have_committed(self) -> bool:
        """Whether the target's connection has nothing under way: its last commit was made."""
        target = self._target
        return (
            target is not None
            and not target.connection.closed
            and target.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        )

    def clear(self, outbox: Outbox) -> None:
        """Remove from the outbox what is recorded, after undoing what is not committed."""
        if self._target is not None and not self._target.connection.closed:
            self.roll_back()
            outbox.clear(self._target.connection)

    def _invalidate_days(self) -> None:
        self._tracker.invalidate_days(self._dataset.name, self._dataset.target.table)

    def close(self) -> None:
        """Close source and target; what is not committed is rolled back."""
        if self._source is not None:
            self._source.close()
        if self._target is not None:
            self._target.connection.close()
        if self._slot is not None:
            self._slot.free()
