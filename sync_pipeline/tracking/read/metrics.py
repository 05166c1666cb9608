"""Figures over all records, for monitoring. They cost a look at an entry of each; keep them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "metrics.sql")


@dataclass(frozen=True)
class BatchMetric:
    """Batches of a dataset in a status."""

    dataset: str
    status: str
    batches: int


@dataclass(frozen=True)
class DayMetric:
    """Days of a dataset in a status, the rows they loaded, and when one last ended
    (Unix time in seconds)."""

    dataset: str
    status: str
    days: int
    rows: int
    last_end: float | None


def batch_metrics(cursor: "Cursor") -> list[BatchMetric]:
    """Return how many batches there are, by dataset and status."""
    cursor.execute(_SQL["batches"], {})
    return [BatchMetric(*row) for row in cursor.fetchall()]


def day_metrics(cursor: "Cursor") -> list[DayMetric]:
    """Return how many days there are, by dataset and status."""
    cursor.execute(_SQL["days"], {})
    return [DayMetric(*row) for row in cursor.fetchall()]
