"""Events of a batch and its days, written immediately or after an outage of the tracking tables.

Each may be written late, or twice if the connection breaks after a commit but before its response;
the second write has no effect. Times are from `time.monotonic()` and are converted when written, so
that records contain only times from the database's clock. Does not order or keep events: see
`pending_writes.py`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from sync_pipeline.errors import SupersededError
from sync_pipeline.tracking.models import (
    DayCounts,
    LateFailure,
    LateSuccess,
    NewBatch,
    StartedDay,
    SyncedDay,
)
from sync_pipeline.tracking.state import (
    attempts,
    batches,
    invalidation,
    late_results,
    source_columns,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


@dataclass(frozen=True)
class Actor:
    """The run on whose behalf events are written, and who triggered it."""

    run_id: str | None
    triggered_by: str | None


class TrackingEvent(Protocol):
    """An event of a run. `batch` is the batch it belongs to, or None."""

    @property
    def batch(self) -> NewBatch | None: ...

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        """Write the event in the caller's transaction; return False if it has to wait.

        `last` is true if the next pending event does not belong to the same batch, so the batch's
        record has to be refreshed now.
        """
        ...


@dataclass(frozen=True)
class BatchRequested:
    """A batch was requested. Writing any event opens its batch; this event does nothing else."""

    batch: NewBatch

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key} requested"


@dataclass(frozen=True)
class BatchRetried:
    """The batch was requested again at `before`; days that had failed by then are pending again."""

    batch: NewBatch
    days: Sequence[date]
    before: datetime

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        new = replace(self.batch, run_id=actor.run_id, triggered_by=actor.triggered_by)
        batches.retry_batch(cursor, _id(batch_id), new, self.days, self.before)
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key} retried"


@dataclass(frozen=True)
class DaysSkipped:
    """Days of the batch were skipped because they are already synced."""

    batch: NewBatch
    days: Sequence[date]

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        attempts.skip(cursor, _id(batch_id), self.days, actor.run_id)
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key}: {len(self.days)} days skipped"


@dataclass(frozen=True)
class DaysNotRun:
    """Those of `days` that are unfinished in the batch will not be run."""

    batch: NewBatch
    days: Sequence[date]
    error: str

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        # Days that another run of the batch has started are left to that run.
        attempts.mark_days_not_run(
            cursor, _id(batch_id), self.error, self.days, run_id=actor.run_id
        )
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key}: days not run: {self.error}"


@dataclass(frozen=True)
class BatchProgressed:
    """Days of the batch have ended, so its record has to be refreshed."""

    batch: NewBatch

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        batches.refresh(cursor, _id(batch_id))
        return True

    def __str__(self) -> str:
        return f"progress of batch {self.batch.batch_key}"


@dataclass(frozen=True)
class DaySucceeded:
    """A day's rows were committed, but its success was not recorded in the same transaction. With
    `refresh`, the batch's record is refreshed too. `at` is when the day ended."""

    day: StartedDay
    counts: DayCounts
    at: float
    refresh: bool

    @property
    def batch(self) -> NewBatch | None:
        return self.day.batch

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        refresh = self.refresh and last
        if self.day.attempt is not None:
            try:
                attempts.succeed(cursor, self.day.attempt, self.counts, ago=_seconds_since(self.at))
            except SupersededError:
                pass  # closed by the reconciler, or lost in a crash: the rows are committed anyway
            else:
                if refresh:
                    batches.refresh_all(cursor, [batch_id])
                return True
        late = LateSuccess(
            dataset=self.day.dataset,
            day=self.day.day,
            run_id=actor.run_id,
            triggered_by=actor.triggered_by,
            batch_id=batch_id,
            number=None if self.day.attempt is None else self.day.attempt.number,
            started_at=_database_time(cursor, self.day.since),
            ended_at=_database_time(cursor, self.at),
            counts=self.counts,
        )
        return late_results.record_late_success(cursor, late, refresh=refresh)

    def __str__(self) -> str:
        return f"{self.day.day} succeeded"


@dataclass(frozen=True)
class DayFailed:
    """A started day failed. `at` is when the day ended."""

    day: StartedDay
    error: str
    at: float

    @property
    def batch(self) -> NewBatch | None:
        return self.day.batch

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        attempt = self.day.attempt
        if attempt is not None and attempts.is_running(cursor, attempt) is not None:
            attempts.fail(cursor, attempt, self.error, ago=_seconds_since(self.at))
            return True
        late = LateFailure(
            dataset=self.day.dataset,
            day=self.day.day,
            run_id=actor.run_id,
            triggered_by=actor.triggered_by,
            batch_id=batch_id,
            number=None if attempt is None else attempt.number,
            started_at=_database_time(cursor, self.day.since),
            ended_at=_database_time(cursor, self.at),
            error=self.error,
        )
        return late_results.record_late_failure(cursor, late)

    def __str__(self) -> str:
        return f"{self.day.day} failed: {self.error}"


@dataclass(frozen=True)
class DayRefused:
    """A day failed before it could start, for example because another worker has its lock."""

    dataset: str
    day: date
    batch: NewBatch | None
    error: str

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        attempts.refuse(
            cursor,
            self.dataset,
            self.day,
            self.error,
            batch_id=batch_id,
            run_id=actor.run_id,
            triggered_by=actor.triggered_by,
        )
        return True

    def __str__(self) -> str:
        return f"{self.day} could not start: {self.error}"


@dataclass(frozen=True)
class RowsReplayed:
    """A day's quarantined rows were loaded, except `kept` of them."""

    dataset: str
    day: SyncedDay
    kept: int
    batch: NewBatch | None = None

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        attempts.record_replay(cursor, self.day, self.kept)
        return True

    def __str__(self) -> str:
        return f"dataset {self.dataset}, record {self.day.record_id}: rows replayed"


@dataclass(frozen=True)
class TableMissing:
    """A dataset's target table was missing at the time `at`, so rows loaded earlier are lost."""

    dataset: str
    table: str
    at: float
    batch: NewBatch | None = None

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        # Days may have been loaded into a new table since.
        before = _database_time(cursor, self.at)
        invalidation.invalidate_days(cursor, self.dataset, self.table, before, actor.run_id)
        return True

    def __str__(self) -> str:
        return f"dataset {self.dataset}: target table {self.table} is missing"


@dataclass(frozen=True)
class ColumnsChanged:
    """A source's columns have changed since it was last opened. `changes` lists the resulting
    changes to the target table."""

    dataset: str
    columns: Mapping[str, str]
    changes: Sequence[str]
    batch: NewBatch | None = None

    def write(self, cursor: "Cursor", batch_id: int | None, actor: Actor, *, last: bool) -> bool:
        source_columns.remember(cursor, self.dataset, self.columns, self.changes, actor.run_id)
        return True

    def __str__(self) -> str:
        return f"dataset {self.dataset}: source columns changed"


def _id(batch_id: int | None) -> int:
    assert batch_id is not None, "PendingWrites opens the batch first"  # noqa: S101
    return batch_id


def _seconds_since(moment: float) -> float:
    return max(0.0, time.monotonic() - moment)


def _database_time(cursor: "Cursor", moment: float) -> datetime:
    return batches.clock(cursor) - timedelta(seconds=_seconds_since(moment))
