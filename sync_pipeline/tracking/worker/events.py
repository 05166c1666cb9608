"""Facts about a batch and its days that are to be written, now or when the tables are back.

Each may be written late and twice: a connection may break between a commit and its answer. Moments
are those of `time.monotonic()`, so that no clock but the database's enters a record.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from sync_pipeline.errors import SupersededError
from sync_pipeline.tracking.models import (
    BegunDay,
    DayCounts,
    LateFailure,
    LateSuccess,
    NewBatch,
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
    """In whose name facts are written."""

    run_id: str | None
    triggered_by: str | None


class TrackingEvent(Protocol):
    """Something that happened. `batch` is the batch it is about; None for a day alone."""

    @property
    def batch(self) -> NewBatch | None: ...

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        """Write it, in the caller's transaction; False if it can only be written later.

        `last` says that no other fact about the batch follows at once, so that its record must
        show this one.
        """
        ...


@dataclass(frozen=True)
class BatchOpened:
    """A batch was asked for. Whoever writes a fact about a batch opens it; this is for one that
    has no other."""

    batch: NewBatch

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key} opened"


@dataclass(frozen=True)
class BatchRetried:
    """Days that had failed in the batch `before` it was asked for again wait again."""

    batch: NewBatch
    days: Sequence[date]
    before: datetime

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        again = replace(self.batch, run_id=by.run_id, triggered_by=by.triggered_by)
        batches.retry_batch(cursor, _id(batch_id), again, self.days, self.before)
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key} taken up again"


@dataclass(frozen=True)
class Skipped:
    """Days of the batch are in already and stay as they are."""

    batch: NewBatch
    days: Sequence[date]

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        attempts.skip(cursor, _id(batch_id), self.days, by.run_id)
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key}: {len(self.days)} days skipped"


@dataclass(frozen=True)
class DaysNotRun:
    """Unfinished days of the batch, all or those in `days`, will not be done."""

    batch: NewBatch
    days: Sequence[date] | None
    error: str

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        # What another run of the batch has begun is its own.
        attempts.mark_days_not_run(cursor, _id(batch_id), self.error, self.days, run_id=by.run_id)
        return True

    def __str__(self) -> str:
        return f"batch {self.batch.batch_key}: days not run: {self.error}"


@dataclass(frozen=True)
class Progressed:
    """The batch's record is to be brought up to its days."""

    batch: NewBatch

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        batches.refresh(cursor, _id(batch_id))
        return True

    def __str__(self) -> str:
        return f"progress of batch {self.batch.batch_key}"


@dataclass(frozen=True)
class Succeeded:
    """A day's rows are in, and were committed without this. With `refresh` the batch's record is
    to show it."""

    day: BegunDay
    counts: DayCounts
    at: float
    refresh: bool

    @property
    def batch(self) -> NewBatch | None:
        return self.day.batch

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        refresh = self.refresh and last
        if self.day.attempt is not None:
            try:
                attempts.succeed(cursor, self.day.attempt, self.counts, ago=_since(self.at))
            except SupersededError:
                pass  # given up, or lost with its server: the rows are in all the same
            else:
                if refresh:
                    batches.refresh_all(cursor, [batch_id])
                return True
        late = LateSuccess(
            dataset=self.day.dataset,
            day=self.day.day,
            run_id=by.run_id,
            triggered_by=by.triggered_by,
            batch_id=batch_id,
            number=None if self.day.attempt is None else self.day.attempt.number,
            started_at=_moment(cursor, self.day.since),
            ended_at=_moment(cursor, self.at),
            counts=self.counts,
        )
        return late_results.record_late_success(cursor, late, refresh=refresh)

    def __str__(self) -> str:
        return f"{self.day.day} succeeded"


@dataclass(frozen=True)
class Failed:
    """A day that had begun failed."""

    day: BegunDay
    error: str
    at: float

    @property
    def batch(self) -> NewBatch | None:
        return self.day.batch

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        attempt = self.day.attempt
        if attempt is not None and attempts.is_running(cursor, attempt) is not None:
            attempts.fail(cursor, attempt, self.error, ago=_since(self.at))
            return True
        late = LateFailure(
            dataset=self.day.dataset,
            day=self.day.day,
            run_id=by.run_id,
            triggered_by=by.triggered_by,
            batch_id=batch_id,
            number=None if attempt is None else attempt.number,
            started_at=_moment(cursor, self.day.since),
            ended_at=_moment(cursor, self.at),
            error=self.error,
        )
        return late_results.record_late_failure(cursor, late)

    def __str__(self) -> str:
        return f"{self.day.day} failed: {self.error}"


@dataclass(frozen=True)
class Refused:
    """A day failed before it could begin, as when another worker holds it."""

    dataset: str
    day: date
    batch: NewBatch | None
    error: str

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        attempts.refuse(
            cursor,
            self.dataset,
            self.day,
            self.error,
            batch_id=batch_id,
            run_id=by.run_id,
            triggered_by=by.triggered_by,
        )
        return True

    def __str__(self) -> str:
        return f"{self.day} could not begin: {self.error}"


@dataclass(frozen=True)
class Replayed:
    """Of a day's rejected rows all are in now but `kept`."""

    dataset: str
    day: SyncedDay
    kept: int
    batch: NewBatch | None = None

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        attempts.replayed(cursor, self.day, self.kept)
        return True

    def __str__(self) -> str:
        return f"rows of {self.dataset}, record {self.day.record_id}, replayed"


@dataclass(frozen=True)
class TableMissing:
    """The target table of a dataset was missing: the days that were in by then are in no more."""

    dataset: str
    table: str
    at: float
    batch: NewBatch | None = None

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        # Somebody may have loaded a day into a new table since.
        before = _moment(cursor, self.at)
        invalidation.invalidate_days(cursor, self.dataset, self.table, before, by.run_id)
        return True

    def __str__(self) -> str:
        return f"target table {self.table} of {self.dataset} missing"


@dataclass(frozen=True)
class ColumnsChanged:
    """The columns of a source are others than when it was last opened, and what was changed at the
    target because of them."""

    dataset: str
    columns: Mapping[str, str]
    changes: Sequence[str]
    batch: NewBatch | None = None

    def write(self, cursor: "Cursor", batch_id: int | None, by: Actor, *, last: bool) -> bool:
        source_columns.remember(cursor, self.dataset, self.columns, self.changes, by.run_id)
        return True

    def __str__(self) -> str:
        return f"columns of {self.dataset}"


def _id(batch_id: int | None) -> int:
    assert batch_id is not None, "the fact's batch was opened before it"  # noqa: S101
    return batch_id


def _since(moment: float) -> float:
    return max(0.0, time.monotonic() - moment)


def _moment(cursor: "Cursor", moment: float) -> datetime:
    return batches.clock(cursor) - timedelta(seconds=_since(moment))
