"""`Partitions`: find out whether the target table's partitions cover a day.

If the table is partitioned by RANGE on the day column and no partition covers a day, one is created
for it: see `new_partition.py`. Otherwise rows are inserted into the parent table as usual. Existing
partitions are never detached or dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timezone
from typing import TYPE_CHECKING

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayBounds, DayType, day_bounds
from sync_pipeline.database.named_sql import load
from sync_pipeline.errors import TargetError
from sync_pipeline.sources.base import Shape
from sync_pipeline.targets.locks import lock_table
from sync_pipeline.targets.names import identifier
from sync_pipeline.targets.new_partition import NewPartition, Parent

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = load(__package__, "partitions.sql")


@dataclass(frozen=True)
class _Part:
    """A partition: whether it is itself partitioned, and its bounds without a time zone."""

    oid: int
    name: str
    partitioned: bool
    lower: datetime
    upper: datetime


class Partitions:
    """The partitions of a dataset's target table, with a cache of their bounds."""

    def __init__(self, dataset: Dataset, shape: Shape) -> None:
        self._dataset = dataset
        self._shape = shape
        self._known: dict[tuple[int, str], _Part] = {}

    def create_for(self, cursor: "Cursor", day: date) -> NewPartition | None:
        """Create and return a partition for `day` if it needs one; call `finish` after the load.

        Return None if existing partitions cover the day, or if the table is not partitioned by
        RANGE on the day column alone. Raises TargetError if existing partitions cover only part of
        the day, or if the partition cannot be created.
        """
        bounds = day_bounds(day, self._shape.day_type, self._dataset.zone)
        if bounds.lower == bounds.upper:  # the time zone skipped this day
            return None
        if self._parent_to_extend(cursor, day, bounds) is None:
            return None
        lock_table(cursor, f"{self._dataset.target.table} {day}")
        # Another worker may have created the partition while this one waited for the lock.
        parent = self._parent_to_extend(cursor, day, bounds)
        if parent is None:
            return None
        partition = NewPartition(self._dataset, self._shape, day, bounds, parent)
        partition.create(cursor)
        return partition

    def _parent_to_extend(self, cursor: "Cursor", day: date, bounds: DayBounds) -> Parent | None:
        """Return the table that needs a new partition for `day` (the target or one of its
        partitions), or None."""
        lower, upper = _without_zone(bounds.lower), _without_zone(bounds.upper)
        cursor.execute(_SQL["oid"], {"table": identifier(self._dataset).as_string(cursor)})
        (oid,) = cursor.fetchone() or (None,)
        must_route = False
        while oid is not None:
            parent = self._parent(cursor, oid)
            if parent is None or not parent.by_day or parent.has_default:
                return None
            must_route = must_route or parent.must_route_rows
            overlapping = _overlapping(self._parts(cursor, parent), lower, upper)
            if not overlapping:
                return replace(parent, must_route_rows=must_route)
            if not _cover(overlapping, lower, upper):
                raise self._gap_error(day, bounds, overlapping)
            only = overlapping[0] if len(overlapping) == 1 else None
            oid = only.oid if only is not None and only.partitioned else None
        return None

    def _parent(self, cursor: "Cursor", oid: int) -> Parent | None:
        cursor.execute(_SQL["partitioning"], {"oid": oid, "day": self._shape.day_column})
        row = cursor.fetchone()
        return None if row is None else Parent(*row)

    def _parts(self, cursor: "Cursor", parent: Parent) -> list[_Part]:
        """Return a table's partitions. Queries bounds only for partitions that are not cached."""
        cursor.execute(_SQL["partitions"], {"oid": parent.oid})
        attached = [(oid, since) for oid, since in cursor.fetchall()]
        new = {oid: since for oid, since in attached if (oid, since) not in self._known}
        if new:
            instants = self._shape.day_type is DayType.TIMESTAMPTZ
            cursor.execute(_SQL["bounds"], {"oids": list(new), "instants": instants})
            for row in cursor.fetchall():
                part = _Part(*row)
                self._known[part.oid, new[part.oid]] = part
        return [self._known[key] for key in attached if key in self._known]

    def _gap_error(self, day: date, bounds: DayBounds, parts: Sequence[_Part]) -> TargetError:
        names = ", ".join(part.name for part in parts)
        return TargetError(
            f"dataset {self._dataset.name}: the partitions of {self._dataset.target.table} cover "
            f"only part of {day} ({self._dataset.timezone}): {names}; create partitions for the "
            f"rest of {bounds.lower} to {bounds.upper}"
        )


def _overlapping(parts: Sequence[_Part], lower: datetime, upper: datetime) -> list[_Part]:
    """Return the partitions that overlap the range from `lower` to `upper`, in order."""
    found = [part for part in parts if part.lower < upper and part.upper > lower]
    return sorted(found, key=lambda part: part.lower)


def _cover(parts: Sequence[_Part], lower: datetime, upper: datetime) -> bool:
    """Return whether sorted partitions cover the range from `lower` to `upper` without gaps."""
    covered = lower
    for part in parts:
        if part.lower > covered:
            return False
        covered = part.upper
    return covered >= upper


def _without_zone(bound: date | datetime) -> datetime:
    """Return a bound as a naive datetime: instants in UTC, dates at midnight."""
    if not isinstance(bound, datetime):
        return datetime.combine(bound, time.min)
    return bound if bound.tzinfo is None else bound.astimezone(timezone.utc).replace(tzinfo=None)
