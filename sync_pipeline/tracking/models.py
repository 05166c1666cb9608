"""The tracking layer's value types: states, batches, attempts and outcomes.

Does not contain the rows listed by the API: see `read/history.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any


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
class BatchSpec:
    """A requested batch: its key, its days (in any order, gaps allowed), who triggered it, and
    whether days that are already synced are synced again (`resync`) or skipped."""

    batch_key: str
    dataset: str
    days: Sequence[date]
    run_id: str | None = None
    triggered_by: str | None = None
    resync: bool = False

    @property
    def already_synced(self) -> str:
        """The value of `daily_sync_status.already_synced`."""
        return "resync" if self.resync else "skip"

    def as_json(self) -> dict[str, Any]:
        """Return the batch as JSON for `from_json`; its days are written as ranges."""
        ranges = [[str(first), str(last)] for first, last in day_ranges(self.days)]
        return {name: value for name, value in vars(self).items() if name != "days"} | {
            "ranges": ranges
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "BatchSpec":
        """Return the batch that `as_json` converted to `saved`.

        Raises KeyError, TypeError or ValueError if `saved` is not in this format.
        """
        days: list[date] = []
        for first, last in saved["ranges"]:
            start, end = date.fromisoformat(first), date.fromisoformat(last)
            days += [start + timedelta(days=n) for n in range((end - start).days + 1)]
        return cls(days=days, **{name: saved[name] for name in saved if name != "ranges"})


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


NO_ROWS = DayCounts(0, 0, 0, 0)


@dataclass(frozen=True)
class DayOutcome:
    """How one try at a day ended, for `attempts.record_outcome`.

    `state` is `success` or `failed`. `attempt_id` and `number` identify the attempt, or
    are None if its start was not recorded. `seconds` is how long it took, or None if the day could
    not start. `error` is one line without secrets; only a failure has one. `refused` means that it
    failed because the target's existing rows must not be replaced. `warning` says what is unusual
    about a success.
    """

    dataset: str
    day: date
    state: AttemptState
    run_id: str | None
    triggered_by: str | None
    batch: BatchSpec | None
    attempt_id: int | None = None
    number: int | None = None
    seconds: float | None = None
    counts: DayCounts = NO_ROWS
    error: str | None = None
    refused: bool = False
    warning: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as JSON for `from_json`."""
        return vars(self) | {
            "day": str(self.day),
            "state": self.state.value,
            "batch": None if self.batch is None else self.batch.as_json(),
            "counts": vars(self.counts),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "DayOutcome":
        """Return the outcome that `as_json` converted to `saved`.

        Raises KeyError, TypeError or ValueError if `saved` is not in this format.
        """
        batch = saved["batch"]
        return cls(
            **{
                **saved,
                "day": date.fromisoformat(saved["day"]),
                "state": AttemptState(saved["state"]),
                "batch": None if batch is None else BatchSpec.from_json(batch),
                "counts": DayCounts(**saved["counts"]),
            }
        )


class Recorded(Enum):
    """What `attempts.record_outcome` did: the outcome was recorded now, had been recorded before,
    or has to wait because another run is syncing the day."""

    NOW = "recorded"
    BEFORE = "known"
    WAITING = "waiting"


@dataclass(frozen=True)
class SyncedDay:
    """A synced day: its record, the number of the attempt that loaded it, and the rows loaded."""

    record_id: int
    attempt: int
    rows_loaded: int


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


def day_ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """Return `days` as sorted ranges of consecutive days, each as its first and last day."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
