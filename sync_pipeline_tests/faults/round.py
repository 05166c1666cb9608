"""A single fault round: its plan, its world, the workers it launched, and its findings.

For how a round is run, see `rounds` and `stack_rounds`.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from datetime import time as clock
from pathlib import Path

from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline_tests.faults import asset_run, workers
from sync_pipeline_tests.faults.disk import TinyDisk
from sync_pipeline_tests.faults.launching import Launcher
from sync_pipeline_tests.faults.plan import Fault, Plan
from sync_pipeline_tests.faults.tables import TABLES, TICKS
from sync_pipeline_tests.faults.works import Form, Work
from sync_pipeline_tests.faults.world import World, day_number
from sync_pipeline_tests.waiting import holds_within

_SECONDS_TO_LAUNCH = 45


@dataclass(frozen=True)
class Launched:
    """A worker launched for the work item with index `number`.

    `key` is the key of its batch, unless it runs a single day or a schedule.
    """

    number: int
    key: str
    work: Work
    worker: workers.Worker

    @property
    def dataset(self) -> str:
        return self.work.dataset

    @property
    def days(self) -> list[date]:
        return [day_number(self.work.first + n) for n in range(self.work.count)]

    @property
    def batch_keys(self) -> list[str]:
        """The keys of the batches that this worker runs; a single day does not belong to any."""
        if self.work.form in (Form.DAY, Form.SCHEDULE):
            keys = [message.get("batch_key") for message in self.worker.messages()]
            return [key for key in keys if key is not None]
        return [self.key]

    @property
    def single_runs(self) -> list[str]:
        """The IDs of this worker's runs that do not belong to a batch."""
        if self.work.form not in (Form.DAY, Form.SCHEDULE):
            return []
        return [
            message["run_id"]
            for message in self.worker.messages()
            if "run_id" in message and message["batch_key"] is None
        ]


@dataclass
class Round:
    """A round in progress. `violations` is empty if every invariant holds.

    `hurt` has the keys of the workers that were killed or suspended.
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
    hurt: set[str] = field(default_factory=set)
    launcher: Launcher | None = None
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
        resync = (work.resync if resync is None else resync) and TABLES[work.dataset].can_resync
        with self._lock:
            earlier = len(self._of(number))
            log = self.folder / f"{len(self.launched)}-{key}.log"
            worker = self._start(work, key, log, earlier, resync=resync, retry=retry)
            self.launched.append(Launched(number, key, work, worker))
            self.note(f"launched {key} ({log.name})")
            return self.launched[-1]

    def _start(
        self, work: Work, key: str, log: Path, earlier: int, *, resync: bool, retry: bool
    ) -> workers.Worker:
        """Start a worker. `earlier` is how many have been launched for the same work item."""
        first, last = day_number(work.first), day_number(work.first + work.count - 1)
        job = workers.job_request(work.dataset, first, last, key, resync=resync, retry=retry)
        if work.form is Form.LAUNCHER and self.launcher is not None:
            return self.launcher.launch(job)
        requests = {
            Form.RANGE: lambda: asset_run.range_request(work.dataset, str(first), str(last), key),
            Form.DAY: lambda: asset_run.day_request(work.dataset, str(first)),
            # The nightly run, then its retries.
            Form.SCHEDULE: lambda: asset_run.schedule_request(work.dataset, _tick(last, earlier)),
        }
        request = requests[work.form]() if work.form in requests else job
        return workers.start(self.world.environment, request, log)

    def victim(self, fault: Fault) -> Launched:
        """Wait until a worker has been launched for the fault's target; return the newest one."""
        holds_within(lambda: self._of(fault.victim), _SECONDS_TO_LAUNCH)
        return self._of(fault.victim)[-1]

    def batch_keys(self) -> dict[str, str]:
        """Return the keys of all batches that this round launched, with their datasets."""
        keys = {key: one.dataset for one in self.launched for key in one.batch_keys}
        return keys | self.elsewhere

    def has_begun(self, number: int) -> bool:
        """Return whether a day of this work item's dataset has started in this round."""
        values = [self.plan.works[number].dataset, self.world.generations[-1][0]]
        began = (
            "SELECT 1 FROM sync_attempt WHERE dataset = %s AND id > %s AND started_at IS NOT NULL"
        )
        return bool(self.world.query("tracking", began, values))

    def _of(self, number: int) -> list[Launched]:
        return [launched for launched in self.launched if launched.number == number]


def _tick(day: date, number: int) -> datetime:
    """Return the time of tick `number` of a schedule in the night after `day`."""
    time_of_day = clock.fromisoformat(TICKS[number])
    return datetime.combine(day + timedelta(days=1), time_of_day, timezone.utc)
