"""Figures over all records, for monitoring. They cost a look at an entry of each; keep them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "metrics.sql")


@dataclass(frozen=True)
class BatchFigure:
    """Batches of a dataset in a status."""

    dataset: str
    status: str
    batches: int


@dataclass(frozen=True)
class DayFigure:
    """Days of a dataset in a status, the rows they loaded, and the seconds since one last ended."""

    dataset: str
    status: str
    days: int
    rows: int
    seconds_since_end: float | None


def batch_figures(cursor: "Cursor") -> list[BatchFigure]:
    """Return how many batches there are, by dataset and status."""
    cursor.execute(_SQL["batches"], {})
    return [BatchFigure(*row) for row in cursor.fetchall()]


def day_figures(cursor: "Cursor") -> list[DayFigure]:
    """Return how many days there are, by dataset and status."""
    cursor.execute(_SQL["days"], {})
    return [DayFigure(*row) for row in cursor.fetchall()]
