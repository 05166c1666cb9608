"""What becomes of a day."""

from dataclasses import dataclass
from datetime import date
from enum import Enum

from sync_pipeline.tracking.models import Attempt, DayCounts, SyncedDay


class Outcome(str, Enum):
    """How a day ended."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class DayResult:
    """What became of one day. `seconds` is wall-clock time; `error` one line without secrets;
    `synced` what a skipped day was found to be, where that is known; `unrecorded` whether something
    of this run could not be recorded yet."""

    day: date
    outcome: Outcome
    seconds: float = 0.0
    counts: DayCounts | None = None
    error: str | None = None
    attempt: Attempt | None = None
    synced: SyncedDay | None = None
    unrecorded: bool = False
