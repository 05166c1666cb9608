"""Which partitions of the target take a day, where the target is partitioned by RANGE on the day.

A day that none takes gets one of its own. Nothing is ever detached or dropped. Where a partition
takes the day, the default one included, rows go through the parent as into any table, and so they
do where a table is partitioned by anything else.
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
    """A partition, whether it is partitioned in its turn, its bounds as times without a zone."""

    oid: int
    name: str
    partitioned: bool
    lower: datetime
    upper: datetime


class Partitions:
    """The partitions of a dataset's target, as its worker knows them."""

    def __init__(self, dataset: Dataset, shape: Shape) -> None:
        self._dataset = dataset
        self._shape = shape
        self._known: dict[tuple[int, str], _Part] = {}

    def make_for(self, cursor: "Cursor", day: date) -> NewPartition | None:
        """Return the partition that was made for `day`, to be finished once its rows are in.

        None where there is nothing to make: some partition takes the day, or the table is
        partitioned by something else than RANGE on the day column alone. Raises TargetError if
        partitions take a part of the day only, and what `NewPartition.make` raises.
        """
        bounds = day_bounds(day, self._shape.day_type, self._dataset.zone)
        if bounds.lower == bounds.upper:  # a day that its zone skipped
            return None
        if self._parent_to_extend(cursor, day, bounds) is None:
            return None
        lock_table(cursor, f"{self._dataset.target.table} {day}")
        # Another dataset's worker may have made it while this one waited.
        parent = self._parent_to_extend(cursor, day, bounds)
        if parent is None:
            return None
        partition = NewPartition(self._dataset, self._shape, day, bounds, parent)
        partition.make(cursor)
        return partition

    def _parent_to_extend(self, cursor: "Cursor", day: date, bounds: DayBounds) -> Parent | None:
        """Return the table, of the target and its partitions, that lacks a partition for `day`."""
        lower, upper = _without_zone(bounds.lower), _without_zone(bounds.upper)
        cursor.execute(_SQL["oid"], {"table": identifier(self._dataset).as_string(cursor)})
        (oid,) = cursor.fetchone() or (None,)
        through = False
        while oid is not None:
            parent = self._parent(cursor, oid)
            if parent is None or not parent.by_day or parent.has_default:
                return None
            through = through or parent.needs_rows_through_it
            taking = _taking(self._parts(cursor, parent), lower, upper)
            if not taking:
                return replace(parent, needs_rows_through_it=through)
            if not _take_all(taking, lower, upper):
                raise self._take_a_part(day, bounds, taking)
            oid = taking[0].oid if len(taking) == 1 and taking[0].partitioned else None
        return None

    def _parent(self, cursor: "Cursor", oid: int) -> Parent | None:
        cursor.execute(_SQL["partitioning"], {"oid": oid, "day": self._shape.day_column})
        row = cursor.fetchone()
        return None if row is None else Parent(*row)

    def _parts(self, cursor: "Cursor", parent: Parent) -> list[_Part]:
        """Return a table's partitions; only of those not seen before the bounds are asked for."""
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

    def _take_a_part(self, day: date, bounds: DayBounds, taking: Sequence[_Part]) -> TargetError:
        names = ", ".join(part.name for part in taking)
        return TargetError(
            f"dataset {self._dataset.name}: of {day} ({self._dataset.timezone}) partitions of "
            f"{self._dataset.target.table} take a part only: {names}; make one for the rest of "
            f"{bounds.lower} to {bounds.upper}"
        )


def _taking(parts: Sequence[_Part], lower: datetime, upper: datetime) -> list[_Part]:
    """Return the partitions that take a part of the time from `lower` to `upper`, in order."""
    taking = [part for part in parts if part.lower < upper and part.upper > lower]
    return sorted(taking, key=lambda part: part.lower)


def _take_all(taking: Sequence[_Part], lower: datetime, upper: datetime) -> bool:
    """Return whether partitions, in order, leave nothing of the time from `lower` to `upper`."""
    taken = lower
    for part in taking:
        if part.lower > taken:
            return False
        taken = part.upper
    return taken >= upper


def _without_zone(bound: date | datetime) -> datetime:
    """Return a bound as a time without a zone: an instant's in UTC, a date's midnight."""
    if not isinstance(bound, datetime):
        return datetime.combine(bound, time.min)
    return bound if bound.tzinfo is None else bound.astimezone(timezone.utc).replace(tzinfo=None)
