"""A single fault round: its plan, its world, the workers it launched, and its findings.

For how a round is run, see `rounds` and `stack_rounds`.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline_tests.faults import workers
from sync_pipeline_tests.faults.disk import TinyDisk
from sync_pipeline_tests.faults.plan import Fault, Plan
from sync_pipeline_tests.faults.world import World, day_number
from sync_pipeline_tests.waiting import holds_within

_SECONDS_TO_LAUNCH = 45


@dataclass(frozen=True)
class Launched:
    """A worker launched for the work item with index `number`, and its batch."""

    number: int
    key: str
    dataset: str
    days: list[date]
    worker: workers.Worker


@dataclass
class Round:
    """A round in progress. `violations` is empty if every invariant holds.

    `elsewhere` maps the keys of batches that run in a full Dagster instance to their datasets.
    """

    plan: Plan
    world: World
    folder: Path
    disk: TinyDisk | None
    launched: list[Launched] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    struck: list[tuple[str, str]] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    memory: ReconcilerCursor = field(default_factory=ReconcilerCursor)
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, text: str) -> None:
        self.notes.append(f"{time.monotonic() - self.began:6.2f} s  {text}")

    def strike(self, label: str, said: str) -> None:
        """Record that a fault took effect; faults are counted by their label."""
        self.struck.append((label, said))

    def launch(
        self, number: int, key: str, *, resync: bool | None = None, retry: bool = False
    ) -> Launched:
        """Start a worker for the work item with index `number`, as batch `key`.

        With `retry`, the worker does the same as the `retry` command; otherwise, it does the same
        as a launch that passes the key in a tag.
        """
        work = self.plan.works[number]
        days = [day_number(work.first + n) for n in range(work.count)]
        request = workers.batch_request(
            work.dataset,
            days[0],
            days[-1],
            key,
            resync=work.resync if resync is None else resync,
            asset=work.asset,
            retry=retry,
        )
        with self._lock:
            log = self.folder / f"{len(self.launched)}-{key}.log"
            worker = workers.start(self.world.environment, request, log)
            self.launched.append(Launched(number, key, work.dataset, days, worker))
            self.note(f"launched {key} (pid {worker.pid})")
            return self.launched[-1]

    def victim(self, fault: Fault) -> Launched:
        """Wait until a worker has been launched for the fault's target; return the newest one."""
        holds_within(lambda: self._of(fault.victim), _SECONDS_TO_LAUNCH)
        return self._of(fault.victim)[-1]

    def has_begun(self, number: int) -> bool:
        """Return whether a day of this work item's dataset has started in this round."""
        values = [self.plan.works[number].dataset, self.world.generations[-1][0]]
        began = (
            "SELECT 1 FROM sync_attempt WHERE dataset = %s AND id > %s AND started_at IS NOT NULL"
        )
        return bool(self.world.query("tracking", began, values))

    def _of(self, number: int) -> list[Launched]:
        return [launched for launched in self.launched if launched.number == number]
