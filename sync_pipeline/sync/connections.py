"""`WorkerConnections`: one worker's source, target, source slot, tracker and outbox.

Source and target are opened when they are first needed, with the dataset's retry policy, and
reopened if a connection is lost. A worker is used by one thread at a time; any thread may stop it.
Does not sync days: see `day.py`. `SyncJob` is what all workers of a run have in common.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SourceUnreachableError, SyncError, one_line
from sync_pipeline.retry import retry
from sync_pipeline.settings import Settings, secrets_of
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import Source
from sync_pipeline.sync.circuit_breaker import CircuitBreaker
from sync_pipeline.sync.volume import VolumeCheck
from sync_pipeline.targets import open_target
from sync_pipeline.targets.locks import session_purpose
from sync_pipeline.targets.postgres import Target
from sync_pipeline.targets.slots import SourceSlot
from sync_pipeline.tracking.models import BatchSpec, DayOutcome
from sync_pipeline.tracking.worker.outbox import Outbox
from sync_pipeline.tracking.worker.tracker import Tracker


class StoppedError(BaseException):
    """Raised in a worker's thread after `stop` was called."""


@dataclass(frozen=True)
class SyncJob:
    """What a run syncs, and how. All of its workers share it, with its circuit breaker and its
    volume check."""

    dataset: Dataset
    settings: Settings
    batch: BatchSpec | None
    resync: bool
    breaker: CircuitBreaker
    volume: VolumeCheck
    logger: logging.Logger

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values to redact in errors."""
        names = self.dataset.source.secret_settings
        return (*secrets_of(self.settings.database_url), *self.settings.secrets_in(names))

    def log_retry(self, what: str, error: Exception, backoff: float) -> None:
        """Log that `what` failed with `error` and is retried after `backoff` seconds."""
        self.logger.warning(
            "dataset %s, %s: retrying in %.1f s: %s",
            self.dataset.name,
            what,
            backoff,
            one_line(error, *self.secrets),
        )


class WorkerConnections:
    """The connections of one worker."""

    def __init__(self, job: SyncJob, tracker: Tracker) -> None:
        self.job = job
        self.tracker = tracker
        self.outbox = Outbox(tracker.run_id, job.logger)
        self._source: Source | None = None
        self._target: Target | None = None
        slots = job.dataset.source.slots
        self._slot = None if slots is None else SourceSlot(job.settings, *slots, tracker.run_id)
        self._policy = job.dataset.retry
        self._stop = threading.Event()

    def clone(self) -> "WorkerConnections":
        """Return connections for another thread. Close them with `transfer_pending_to`."""
        return WorkerConnections(self.job, self.tracker.clone())

    def transfer_pending_to(self, other: "WorkerConnections") -> None:
        """Close these connections and transfer the pending writes to another worker in the run."""
        self.close()
        self.tracker.transfer_pending_to(other.tracker)

    @property
    def source(self) -> Source:
        """The open source. Call `open_source` before using this."""
        assert self._source is not None  # noqa: S101  open_source was called
        return self._source

    def target(self) -> Target:
        """Return the target; connect to it first if it is not connected or its connection was lost.

        If the target table is missing, the dataset's synced days are marked as failed.
        """
        if self._target is None or self._target.connection.closed:
            purpose = session_purpose(self.job.dataset, self.tracker.run_id)
            connection = open_target(self.job.dataset, self.job.settings, purpose)
            target = Target(connection, self.job.dataset, self._invalidate_days)
            try:
                if self._source is None:
                    target.check_exists()
                else:
                    target.prepare(self._source.shape)
            except BaseException:
                target.close()
                raise
            if self._target is not None:
                self._target.close()
            self._target = target
        return self._target

    def open_target(self) -> None:
        """Connect to the target, using the dataset's retry policy. Raises SyncError."""
        retry(self.target, self._policy, partial(self.job.log_retry, "target"), self.sleep)

    def open_source(self, *, wait: bool = True) -> None:
        """Open the source and prepare the target table, using the dataset's retry policy. Raises
        SyncError, including when all source slots are in use and `wait` is false."""
        open_source = partial(self._open_source, self.sleep if wait else None)
        retry(open_source, self._policy, partial(self.job.log_retry, "source"), self.sleep)

    def try_open(self) -> bool:
        """Open the target and source. If that fails, log the reason and return False."""
        try:
            self.open_target()
            self.open_source(wait=False)
        except SyncError as error:
            self.job.logger.warning(
                "dataset %s: running fewer workers than parallel_days; one could not start: %s",
                self.job.dataset.name,
                one_line(error, *self.job.secrets),
            )
            self._close()  # also releases the slot
            return False
        return True

    def sleep(self, seconds: float) -> None:
        """Sleep. Raises StoppedError if the worker is stopped in the meantime."""
        if self._stop.wait(seconds):
            raise StoppedError

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Interrupt the worker from another thread. The day in progress, if any, is rolled back and
        recorded as cancelled."""
        self._stop.set()
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

    def add_to_outbox(self, outcome: DayOutcome) -> None:
        """Keep an outcome that cannot be recorded now in the target, if that is connected and has
        no open transaction."""
        if self._target is not None and self.is_idle:
            self.outbox.add_alone(self._target.connection, outcome)

    @property
    def is_idle(self) -> bool:
        """Whether the target is connected and idle, which means that the last commit is done."""
        target = self._target
        return (
            target is not None
            and not target.connection.closed
            and target.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        )

    def close(self) -> None:
        """Close source and target, after removing recorded days from the outbox. Uncommitted rows
        are rolled back."""
        if self._target is not None and not self._target.connection.closed:
            self.roll_back()
            self.outbox.remove_recorded(self._target.connection)
        self._close()

    def _open_source(self, sleep: Callable[[float], object] | None) -> None:
        """Open the source; create the target table for its columns, or check the existing table.

        If all slots for the source are in use, call `sleep` until one is free; if `sleep` is None,
        raise SourceUnreachableError instead. Raises SyncError.
        """
        dataset = self.job.dataset
        if self._slot is not None and not self._slot.acquire(sleep):
            raise SourceUnreachableError(
                f"dataset {dataset.name}: all max_connections slots for the source are in use"
            )
        if self._source is None:
            self._source = open_source(dataset, self.job.settings)
        shape = self._source.shape
        columns = {column.name: column.type for column in shape.columns}
        former = self.tracker.source_columns(dataset.name)
        changes = self.target().prepare(shape, former)
        for change in changes:
            self.job.logger.warning("dataset %s: %s", dataset.name, change)
        if changes or columns != former:
            self.tracker.remember_columns(dataset.name, columns, changes)

    def _invalidate_days(self) -> None:
        self.tracker.invalidate_days(self.job.dataset.name, self.job.dataset.target.table)

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
        if self._target is not None:
            self._target.close()
        if self._slot is not None:
            self._slot.release()
