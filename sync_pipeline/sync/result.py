"""`DayResult`: how the sync of one day ended. Does not record it: see `record.py`."""

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
    """The result of one day.

    `seconds` is wall-clock time, and `error` is one line without secrets. `synced` says how
    a skipped day was synced, if known. `unrecorded` is true if the run has pending writes.
    """

    day: date
    outcome: Outcome
    seconds: float = 0.0
    counts: DayCounts | None = None
    error: str | None = None
    attempt: Attempt | None = None
    synced: SyncedDay | None = None
    unrecorded: bool = False
