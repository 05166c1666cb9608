"""`DayResult`: how the sync of one day ended. Does not record it: see `day.py`."""

from dataclasses import dataclass
from datetime import date
from enum import Enum

from sync_pipeline.tracking.models import Attempt, DayCounts, SyncedDay


class Outcome(str, Enum):
    """How the sync of a day ended."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class DayResult:
    """The result of one day, for Dagster and the user.

    `seconds` is wall-clock time, and `error` is one line without secrets. `warning` says what is
    unusual about a success. `synced` says how a skipped day was synced, if known.
    """

    day: date
    outcome: Outcome
    seconds: float = 0.0
    counts: DayCounts | None = None
    error: str | None = None
    attempt: Attempt | None = None
    synced: SyncedDay | None = None
    warning: str | None = None
