"""Metrics over all records, for monitoring. Each query scans one index entry per record.

Does not cache or format the metrics: see `api/metrics.py`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "metrics.sql")


@dataclass(frozen=True)
class BatchMetric:
    """The number of a dataset's batches with a given status."""

    dataset: str
    status: str
    batches: int


@dataclass(frozen=True)
class DayMetric:
    """The number of a dataset's days with a given state, their rows in the target, and when any of
    them was last loaded (Unix time in seconds). The state `resync_failed` means that the day is
    synced, but the latest attempt failed."""

    dataset: str
    state: str
    days: int
    rows: int
    last_load: float | None


def batch_metrics(cursor: "Cursor") -> list[BatchMetric]:
    """Return the number of batches by dataset and status."""
    cursor.execute(_SQL["batches"], {})
    return [BatchMetric(*row) for row in cursor.fetchall()]


def day_metrics(cursor: "Cursor") -> list[DayMetric]:
    """Return the number of days by dataset and state, with their rows and latest load."""
    cursor.execute(_SQL["days"], {})
    return [DayMetric(*row) for row in cursor.fetchall()]
