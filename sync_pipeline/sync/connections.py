"""`WorkerConnections`: a worker's connections to its source and target, and its source slot.

Each is opened when it is first needed and reopened if its connection is lost. Does not load rows:
see `worker.py` and `targets/postgres.py`.
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
from sync_pipeline.targets.locks import session_purpose
from sync_pipeline.targets.postgres import Target
from sync_pipeline.targets.slots import SourceSlot
from sync_pipeline.tracking.worker.outbox import Outbox
from sync_pipeline.tracking.worker.tracker import Tracker


class WorkerConnections:
    """One worker's connections, used by one thread at a time; any thread may call `interrupt`."""

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
        self._slot = None if slots is None else SourceSlot(settings, *slots, tracker.run_id)

    @property
    def source(self) -> Source:
        """The open source. Call `open_source` before using this."""
        assert self._source is not None  # noqa: S101  open_source was called
        return self._source

    def open_target(self) -> Target:
        """Return the target; open it first if it is not open or its connection was lost.

        If the target table is missing, the dataset's synced days are marked as failed.
        """
        if self._target is None or self._target.connection.closed:
            purpose = session_purpose(self._dataset, self._tracker.run_id)
            connection = open_target(self._dataset, self._settings, purpose)
            target = Target(connection, self._dataset, self._invalidate_days)
            try:
                if self._source is None:
                    target.check_exists()
                else:
                    target.prepare(self._source.shape)
            except BaseException:
                connection.close()
                raise
            self._target = target
        return self._target

    def open_source(self, sleep: Callable[[float], object] | None) -> None:
        """Open the source; create the target table for its columns, or check the existing table.

        If all slots for the source are in use, call `sleep` until one is free; if `sleep` is None,
        raise SourceUnreachableError instead. Raises SyncError.
        """
        if self._slot is not None and not self._slot.acquire(sleep):
            raise SourceUnreachableError(
                f"dataset {self._dataset.name}: all max_connections slots for the source are in use"
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

    def interrupt(self) -> None:
        """Cancel the statements that another thread is running, if any."""
        target, source = self._target, self._source
        if target is not None:
            with suppress(psycopg2.Error):  # closed or lost in the meantime
                target.connection.cancel()
        if source is not None:
            source.cancel()

    def roll_back(self) -> None:
        """Roll back the target's transaction."""
        if self._target is None:
            return
        try:
            self._target.connection.rollback()
        except psycopg2.Error:
            # The server rolls back the transaction of a lost connection.
            self._target.connection.close()

    @property
    def is_idle(self) -> bool:
        """Whether the target is connected and idle, which means that the last commit is done."""
        target = self._target
        return (
            target is not None
            and not target.connection.closed
            and target.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        )

    def clear_outbox(self, outbox: Outbox) -> None:
        """Roll back the target's transaction, then remove recorded days from the outbox."""
        if self._target is not None and not self._target.connection.closed:
            self.roll_back()
            outbox.remove_recorded(self._target.connection)

    def _invalidate_days(self) -> None:
        self._tracker.invalidate_days(self._dataset.name, self._dataset.target.table)

    def close(self) -> None:
        """Close the source and target, and release the slot. Uncommitted rows are rolled back."""
        if self._source is not None:
            self._source.close()
        if self._target is not None:
            self._target.connection.close()
        if self._slot is not None:
            self._slot.release()
