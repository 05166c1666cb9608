"""Gates: database locks that make a worker wait at a given step while it syncs a day.

For the triggers and views that wait at a gate, see `world.sql`.
"""

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
    """A closed gate. `session` is the PID of the database backend that holds its lock."""

    world: World
    role: str
    session: int

    def has_waiter(self) -> bool:
        """Return whether a worker is waiting at this gate."""
        waiting = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        return bool(self.world.query(self.role, waiting, [self.session]))

    def wait(self, seconds: float, unless: Callable[[], bool]) -> bool:
        """Wait up to `seconds` for a worker to reach this gate; return whether one is waiting.

        Stops early if `unless` returns true.
        """
        holds_within(lambda: unless() or self.has_waiter(), seconds)
        return self.has_waiter()


@contextmanager
def closed_gate(world: World, step: Step, dataset: str, day: date) -> Iterator[Gate]:
    """Close the gate at `step` for the workers that sync `dataset` while the block runs.

    `day` is used only for steps whose gate is the day's own lock. Raises psycopg2.Error if the gate
    cannot be closed, for example because its server is down.
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
            # The day's own lock: a worker that waits for it has already committed the previous day.
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtext('sync_pipeline day: ' || %s), %s)",
                [dataset, day.toordinal()],
            )
        else:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [int(step), dataset])
