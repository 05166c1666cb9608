"""Holding a worker up at a chosen step of a day, from outside: with locks in the databases."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline_tests.faults.world import Layout, Step, World
from sync_pipeline_tests.waiting import holds_within

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_SECONDS_TO_CLOSE = 2
_ROLES = {
    Step.AT_BEGIN: "tracking",
    Step.AT_SUCCESS: "tracking",
    Step.AFTER_EVENT: "tracking",
    Step.IN_READ: "source",
    Step.BEFORE_EVENT: "dagster",
}


@dataclass(frozen=True)
class Gate:
    """A closed gate. `session` is the backend that keeps it closed."""

    world: World
    role: str
    session: int

    def somebody_waits(self) -> bool:
        """Whether a worker has come to it."""
        waiting = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        return bool(self.world.query(self.role, waiting, [self.session]))

    def wait(self, seconds: float, unless: Callable[[], bool]) -> bool:
        """Wait until somebody has come to it; return False if nobody does, or `unless` holds."""
        holds_within(lambda: unless() or self.somebody_waits(), seconds)
        return self.somebody_waits()


@contextmanager
def closed_gate(world: World, step: Step, dataset: str, day: date) -> Iterator[Gate]:
    """Close the gate of `step` for the workers at `dataset`, for as long as the block lasts.

    `day` counts for the steps that are reached by waiting for the lock of a day. Raises
    psycopg2.Error if the gate cannot be closed; its server may be down.
    """
    role = _ROLES.get(step, "target")
    with closing(psycopg2.connect(world.url(role))) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = %s", [_SECONDS_TO_CLOSE * 1000])
        _close(connection, world.layout, step, dataset, day)
        yield Gate(world, role, connection.info.backend_pid)
        with suppress(psycopg2.Error):  # its server may have been stopped
            connection.rollback()


def _close(connection: "Connection", layout: Layout, step: Step, dataset: str, day: date) -> None:
    with connection.cursor() as cursor:
        if step is Step.BEFORE_EVENT:
            schema = "dagster" if layout.home_of("dagster") == "target" else "public"
            cursor.execute(f"LOCK TABLE {schema}.event_logs IN SHARE ROW EXCLUSIVE MODE")
        elif step in (Step.BEFORE_LOCK, Step.AFTER_COMMIT):
            # The lock itself: whoever waits for this day's has committed the day before.
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtext('sync_pipeline day: ' || %s), %s)",
                [dataset, day.toordinal()],
            )
        else:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [int(step), dataset])
