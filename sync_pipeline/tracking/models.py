"""What the tracking layer speaks of: record and attempt states, and the values passed around."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum


class RecordStatus(str, Enum):
    """`daily_sync_status.status`, the specification's three words."""

    SYNCING = "syncing"
    SUCCESS = "success"
    FAILED = "failed"


class AttemptState(str, Enum):
    """`sync_attempt.state`."""

    PENDING = "pending"
    SYNCING = "syncing"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class NewBatch:
    """A batch as requested: its identity, its days (any order, no gaps needed), who asked, and
    whether days that are in already are done again."""

    batch_key: str
    dataset: str
    days: Sequence[date]
    run_id: str | None = None
    triggered_by: str | None = None
    resync: bool = False


@dataclass(frozen=True)
class Counts:
    """Days of a batch by state, and the rows read so far."""

    total: int
    success: int
    failed: int
    skipped: int
    rows: int = 0

    @property
    def done(self) -> int:
        return self.success + self.failed + self.skipped


@dataclass(frozen=True)
class Batch:
    """A batch record, as far as its workers need it."""

    id: int
    batch_key: str
    dataset: str
    status: RecordStatus
    start_date: date
    end_date: date
    total_days: int


@dataclass(frozen=True)
class Attempt:
    """One try at one day that has begun. `number` is its fence: only the latest may commit."""

    id: int
    number: int
    dataset: str
    day: date
    batch_id: int | None
    record_id: int


@dataclass(frozen=True)
class FailedTry:
    """An attempt that failed and is not closed, because its worker tries the day again."""

    attempt: Attempt
    error: str


@dataclass(frozen=True)
class DayCounts:
    """What one successful day moved. `bytes` as the copy stream counted them."""

    rows_read: int
    rows_loaded: int
    rows_rejected: int
    bytes: int


@dataclass(frozen=True)
class BegunDay:
    """A day at work since `since`, by `time.monotonic()`. `attempt` is None if the tables were
    away."""

    dataset: str
    day: date
    batch: NewBatch | None
    attempt: Attempt | None
    since: float


@dataclass(frozen=True)
class LateSuccess:
    """A day that is in, as it became known afterwards. `number` is that of its attempt, where it
    is known; `told` whether Dagster knows of it, by this number."""

    dataset: str
    day: date
    run_id: str | None
    triggered_by: str | None
    batch_id: int | None
    started_at: datetime
    ended_at: datetime
    counts: DayCounts
    number: int | None = None
    told: bool = False


@dataclass(frozen=True)
class LateFailure:
    """A day that failed, as it became known afterwards."""

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
    """A day that is in: its record, the attempt that brought it, the rows it loaded."""

    record_id: int
    attempt: int
    rows_loaded: int


@dataclass(frozen=True)
class SmallDay:
    """A day with far fewer rows than is usual: the median of the days before it."""

    day: date
    rows: int
    usual: float


@dataclass(frozen=True)
class UnreportedDay:
    """A day that is in and that Dagster was not told of. `seconds` is how long it took."""

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
    """The failed days of a batch, the first error, those of the days that nobody tried, and why
    the batch broke off, if it did."""

    days: Sequence[date]
    first_error: str
    not_run: Sequence[date]
    broke_off: str | None


@dataclass(frozen=True)
class BatchProgress:
    """A row of the view `sync_batch_progress`. Seconds are wall-clock; `eta_seconds` is a guess."""

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
    """Return the day that stands for a batch: the middle of its range, rounded down.

    The specification's examples (10-01…10-10 gives 10-05) and not its formula, which gives 10-06.
    """
    return start + (end - start) // 2


def day_ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """Return `days` as sorted stretches of consecutive days, both ends included."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
