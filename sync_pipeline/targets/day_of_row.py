"""`DayOfRow`: check that a single row belongs to a day, using the value of its day column.

Used for replayed rows. In a sync, the source selects the rows of the day.
"""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayType, day_bounds
from sync_pipeline.database.named_sql import load
from sync_pipeline.errors import TargetError
from sync_pipeline.targets.names import identifier

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


class DayOfRow:
    """Checks that rows belong to one day of a dataset.

    The constructor raises TargetError if the target table or its day column is missing.
    """

    def __init__(self, cursor: "Cursor", dataset: Dataset, day: date) -> None:
        self._cursor = cursor
        self._day = day
        self._column = dataset.source.day_column
        day_type = self._find_type(dataset)
        self._cast = sql.SQL(day_type.value)
        bounds = day_bounds(day, day_type, dataset.zone)
        self._bounds = {"lower": bounds.lower, "upper": bounds.upper}
        zoned = day_type is DayType.TIMESTAMPTZ
        self._local = sql.SQL("at AT TIME ZONE {}" if zoned else "at").format(
            sql.Literal(dataset.timezone)
        )

    def check(self, values: Mapping[str, str | None]) -> None:
        """Raise psycopg2.DataError if a row does not belong to the day. `values` maps column names
        to text values."""
        query = sql.SQL(
            "SELECT at >= %(lower)s AND at < %(upper)s, ({local})::date::text "
            "FROM (SELECT CAST(%(value)s AS {type}) AS at) AS row"
        ).format(local=self._local, type=self._cast)
        self._cursor.execute(query, self._bounds | {"value": values.get(self._column)})
        row = self._cursor.fetchone()
        assert row is not None  # noqa: S101  the query always returns one row
        is_of_day, other = row
        if not is_of_day:
            problem = "is empty" if other is None else f"falls on {other}"
            raise psycopg2.DataError(
                f"its day_column {self._column!r} {problem}, but the row was quarantined for "
                f"{self._day}; correct it and replay it, or correct the source and sync the days"
            )

    def _find_type(self, dataset: Dataset) -> DayType:
        table = {"table": identifier(dataset).as_string(self._cursor), "column": self._column}
        self._cursor.execute(load(__package__, "table.sql")["column_type"], table)
        row = self._cursor.fetchone()
        if row is None or row[0] not in [kind.value for kind in DayType]:
            raise TargetError(
                f"dataset {dataset.name}, day {self._day}: the target table {dataset.target.table} "
                f"is missing, or no longer has the day_column {self._column!r}; sync the day again"
            )
        return DayType(row[0])
