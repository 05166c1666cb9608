"""The tracking layer's value types: states, batches, attempts and results.

Does not contain the rows listed by the API: see `read/history.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum


class RecordStatus(str, Enum):
    """The values of `daily_sync_status.status`, as defined by the specification."""

    SYNCING = "syncing"
    SUCCESS = "success"
    FAILED = "failed"


class AttemptState(str, Enum):
    """The values of `sync_attempt.state`."""

    PENDING = "pending"
    SYNCING = "syncing"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class NewBatch:
    """A requested batch: its key, its days (in any order, gaps allowed), who triggered it, and
    whether days that are already synced are synced again (`resync`) or skipped."""

    batch_key: str
    dataset: str
    days: Sequence[date]
    run_id: str | None = None
    triggered_by: str | None = None
    resync: bool = False


@dataclass(frozen=True)
class Counts:
    """The number of days in a batch by state, and the number of rows read so far."""

    total: int
    success: int
    failed: int
    skipped: int
    rows: int = 0

    @property
    def done(self) -> int:
        """The number of days that have ended."""
        return self.success + self.failed + self.skipped


@dataclass(frozen=True)
class Batch:
    """The columns of a batch record that its workers need."""

    id: int
    batch_key: str
    dataset: str
    status: RecordStatus
    start_date: date
    end_date: date
    total_days: int


@dataclass(frozen=True)
class Attempt:
    """A started attempt for a day. `number` is a fencing token: only the latest attempt for the day
    may commit."""

    id: int
    number: int
    dataset: str
    day: date
    batch_id: int | None
    record_id: int


@dataclass(frozen=True)
class FailedAttempt:
    """A failed attempt that is still open because its worker will retry the day."""

    attempt: Attempt
    error: str


@dataclass(frozen=True)
class DayCounts:
    """Row counts for a successful day, and the number of bytes sent through COPY."""

    rows_read: int
    rows_loaded: int
    rows_rejected: int
    bytes: int


@dataclass(frozen=True)
class StartedDay:
    """A day in progress. `since` is its start time (`time.monotonic()`); `attempt` is None if the
    tracking tables were unavailable."""

    dataset: str
    day: date
    batch: NewBatch | None
    attempt: Attempt | None
    since: float


@dataclass(frozen=True)
class LateSuccess:
    """A success that is recorded after the fact. `number` is the attempt's number, if known;
    `reported` says whether Dagster has a materialization with that number."""

    dataset: str
    day: date
    run_id: str | None
    triggered_by: str | None
    batch_id: int | None
    started_at: datetime
    ended_at: datetime
    counts: DayCounts
    number: int | None = None
    reported: bool = False


@dataclass(frozen=True)
class LateFailure:
    """A failure that is recorded after the fact. `number` is the attempt's number, if known."""

    dataset: str
    day: date
    run_id: str | None
    triggered_by: str | None
    batch_id: int | None
    started_at: datetime
    ended_at: datetime
    error: str
    number: int | None = None


@dataclass(frozen=True)
class SyncedDay:
    """A synced day: its record, the number of the attempt that loaded it, and the rows loaded."""

    record_id: int
    attempt: int
    rows_loaded: int


@dataclass(frozen=True)
class SmallDay:
    """A day with unusually few rows. `usual` is the median row count of the days before it."""

    day: date
    rows: int
    usual: float


@dataclass(frozen=True)
class UnreportedDay:
    """A synced day not yet reported to Dagster. `seconds` is the attempt's duration."""

    attempt_id: int
    dataset: str
    day: date
    number: int
    run_id: str
    record_id: int
    rows_loaded: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class FailedDays:
    """The failed days of a batch, the first error, which of the days were not run, and why the
    batch stopped early (None if it did not)."""

    days: Sequence[date]
    first_error: str
    not_run: Sequence[date]
    stop_reason: str | None


@dataclass(frozen=True)
class BatchProgress:
    """A row of the view `sync_batch_progress`. `eta_seconds` is an estimate of the time left."""

    id: int
    dataset: str
    batch_key: str | None
    sync_date: date
    status: str
    start_date: date
    end_date: date
    total_days: int
    done_days: int
    success_count: int
    failed_count: int
    skipped_count: int
    total_records: int
    percent: float | None
    duration_seconds: int | None
    elapsed_seconds: float
    rows_per_second: float | None
    eta_seconds: float | None
    remarks: str
    error_message: str | None
    start_time: datetime
    end_time: datetime | None
    run_id: str | None
    triggered_by: str | None
    already_synced: str | None
    retried_at: datetime | None


def middle_day(start: date, end: date) -> date:
    """Return the `sync_date` of a batch record: the middle of its range, rounded down.

    Follows the specification's examples (10-01 to 10-10 gives 10-05), not its formula, which
    gives 10-06.
    """
    return start + (end - start) // 2


def day_ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """Return `days` as sorted ranges of consecutive days, each as its first and last day."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
