"""Plans for rounds: which faults occur, and when, while which works run.

A given seed and number always produce the same plan. For the works, see `works`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from sync_pipeline_tests.faults.tables import DATASETS, TABLES
from sync_pipeline_tests.faults.works import (
    Work,
    any_work,
    any_works,
    appending_works,
    crowded_works,
    launched_works,
    nightly_works,
    racing_works,
    single_days,
    works_of,
)
from sync_pipeline_tests.faults.world import DAYS, Layout, Step


class What(str, Enum):
    """What a fault does."""

    KILL = "kill"  # SIGKILL a worker
    KILL_HOLDER = "kill holder"  # SIGKILL a worker that holds a source slot
    KILL_SERVER = "kill fork server"  # SIGKILL the fork server while a run is being launched
    CANCEL = "cancel"  # SIGTERM a worker
    SLEEP = "sleep"  # SIGSTOP a worker until another one has synced its days, then SIGCONT
    CUT = "cut"  # call pg_terminate_backend on all connections that serve one purpose
    STOP = "stop"  # stop a server immediately, then start it again
    REFUSE = "refuse"  # revoke INSERT from the sync role, then grant it again
    HOLD = "hold"  # make all of a dataset's workers wait at a step, then continue together
    FILL = "fill"  # fill the disk that holds a target table, then free it


HARMLESS = (What.KILL_HOLDER, What.KILL_SERVER)
"""The faults that make no other worker fail."""


@dataclass(frozen=True)
class Fault:
    """Do `what` after `after` seconds, once a worker for the victim's dataset is at `step`.

    If there is a step, the time is counted from the start of the first day; otherwise, from the
    start of the round. `where` is a server; `lasts` is in seconds. With `again`, the victim's batch
    is launched again immediately; with `split`, a suspended worker also loses its connections.
    """

    what: What
    after: float
    victim: int = 0
    step: Step | None = None
    where: str = ""
    lasts: float = 0.0
    times: int = 1
    again: bool = False
    split: bool = False

    @property
    def label(self) -> str:
        """The kind of fault, followed by its server or step; faults are counted by this label."""
        parts = [self.what.value, self.where]
        parts += [f"at {self.step.name.lower()}"] if self.step and not self.where else []
        return " ".join(part for part in parts if part)

    def __str__(self) -> str:
        step = f" at {self.step.name.lower()}" if self.step else ""
        return f"{self.what.value} {self.where or f'w{self.victim}'}{step} after {self.after:.2f} s"


@dataclass(frozen=True)
class Plan:
    """The plan for one round. With `reconciling`, the reconciler runs during the faults.

    With `retry`, failed batches are launched again at the end; with `changed`, the source's rows
    change before these retries.
    """

    number: int
    seed: str
    kind: str
    layout: Layout
    works: tuple[Work, ...]
    faults: tuple[Fault, ...]
    pace: float
    reconciling: bool
    retry: bool
    changed: bool


def make_plan(seed: str, number: int, kinds: Sequence[str]) -> Plan:
    """Return the plan for round `number` (1-based). Successive rounds cycle through `kinds`."""
    rng = Random(f"{seed}/{number}")  # noqa: S311  test data, not a secret
    kind = kinds[(number - 1) % len(kinds)]
    if kind in STACK_KINDS:
        return _stack_plan(rng, number, seed, kind)
    works = KINDS[kind].works(rng)
    faults = KINDS[kind].faults(rng)
    faults = [*faults, *_more_faults(rng)] if rng.random() < 0.4 else faults
    faults = [replace(fault, victim=rng.randrange(len(works))) for fault in faults]
    for fault in faults:
        if fault.step is not None:  # a worker that skips its days never reaches a step
            works[fault.victim] = replace(works[fault.victim], resync=True)
    sleeping = any(fault.what is What.SLEEP for fault in faults)
    # Under load, a worker that is still starting would be declared lost.
    harmless = all(fault.what in HARMLESS for fault in faults)
    return Plan(
        number=number,
        seed=seed,
        kind=kind,
        layout=_layout(rng, faults),
        works=tuple(works),
        faults=tuple(faults),
        pace=rng.choice([0.005, 0.015, 0.03]),
        reconciling=not harmless and (sleeping or rng.random() < 0.7),
        retry=kind == "retry" or rng.random() < 0.4,
        changed=rng.random() < 0.5,
    )


def _stack_plan(rng: Random, number: int, seed: str, kind: str) -> Plan:
    layout = rng.choice(list(Layout))
    works = [any_work(rng, name, rng.randrange(0, DAYS - 20)) for name in _OF_STACK]
    works = [replace(work, count=rng.randint(10, 20), resync=True) for work in works]
    return Plan(number, seed, kind, layout, tuple(works), (), 0.1, True, False, False)


def _layout(rng: Random, faults: list[Fault]) -> Layout:
    chosen = rng.choices(list(Layout), weights=[4, 3, 3])[0]
    places = {fault.where for fault in faults if fault.what is What.STOP}
    if "tracking" in places:
        return Layout.ALL_APART
    if "dagster" in places and chosen is Layout.TOGETHER:
        return Layout.DAGSTER_APART
    return chosen


def _moment(rng: Random, step: Step | None = None) -> float:
    longest = rng.choice([0.4, 0.8]) if step is None else 0.15
    return round(longest * rng.random(), 2)


def _killed(rng: Random) -> list[Fault]:
    return [Fault(What.KILL, _moment(rng))]


def _killed_at(step: Step) -> Callable[[Random], list[Fault]]:
    return lambda rng: [Fault(What.KILL, _moment(rng, step), step=step)]


def _killed_and_retried(rng: Random) -> list[Fault]:
    step = rng.choice([None, None, *Step])
    return [Fault(What.KILL, _moment(rng, step), step=step, again=True)]


def _cancelled(rng: Random) -> list[Fault]:
    step = rng.choice([None, None, None, *Step])
    return [Fault(What.CANCEL, _moment(rng, step), step=step, again=rng.random() < 0.2)]


def _asleep(rng: Random) -> list[Fault]:
    step = rng.choice([None, None, *Step])
    return [Fault(What.SLEEP, _moment(rng, step), step=step, split=rng.random() < 0.6)]


def _cut(where: str) -> Callable[[Random], list[Fault]]:
    def faults(rng: Random) -> list[Fault]:
        step = rng.choice([None, None, *Step])
        return [
            Fault(What.CUT, _moment(rng, step), step=step, where=where, times=rng.randint(1, 4))
        ]

    return faults


def _stopped(where: str) -> Callable[[Random], list[Fault]]:
    def faults(rng: Random) -> list[Fault]:
        step = rng.choice([None, None, *Step])
        lasts = round(rng.choice([0.0, 0.3, 1.0]) * rng.random(), 2)
        return [Fault(What.STOP, _moment(rng, step), step=step, where=where, lasts=lasts)]

    return faults


def _killed_during_outage(rng: Random) -> list[Fault]:
    """Return faults that stop the tracking server and kill a worker while the server is down."""
    stopped, killed = round(0.2 * rng.random(), 2), round(0.1 + 0.4 * rng.random(), 2)
    return [
        Fault(What.STOP, stopped, where="tracking", lasts=1.2),
        Fault(What.KILL, stopped + killed, again=rng.random() < 0.3),
    ]


def _refused(rng: Random) -> list[Fault]:
    return [Fault(What.REFUSE, _moment(rng), lasts=round(rng.random() * 0.5, 2))]


def _full(rng: Random) -> list[Fault]:
    return [Fault(What.FILL, _moment(rng) / 2, lasts=round(0.2 + rng.random() * 0.5, 2))]


def _in_a_race(rng: Random) -> list[Fault]:
    step = rng.choice([Step.AT_BEGIN, Step.IN_READ, Step.AFTER_DELETE, Step.IN_COPY])
    crowd = Fault(What.HOLD, _moment(rng, step), step=step, lasts=0.2 + rng.random() * 0.4)
    fault = rng.choice([_killed, _cancelled, _cut("target"), _cut("tracking"), None])
    return [crowd, *(fault(rng) if fault else [])]


def _holder_killed(rng: Random) -> list[Fault]:
    step = rng.choice([None, Step.IN_READ, Step.IN_COPY, Step.AT_SUCCESS])
    after = _moment(rng, step) if step else 0.5 + rng.random()
    return [Fault(What.KILL_HOLDER, round(after, 2), step=step)]


def _fork_server_killed(rng: Random) -> list[Fault]:
    step = rng.choice([None, Step.IN_READ, Step.IN_COPY])
    lasts = rng.choice([0.0, 0.2, 0.5])
    return [Fault(What.KILL_SERVER, _moment(rng, step), step=step, lasts=lasts)]


def _any_of_a_worker(rng: Random) -> list[Fault]:
    """Return a fault that kills, cancels or suspends a worker, at any step."""
    return rng.choice([_killed_and_retried, _cancelled, _asleep, _killed_at(_a_step(rng))])(rng)


def _any(rng: Random) -> list[Fault]:
    """Return any fault, at any step."""
    chosen = rng.choice(
        [
            *[_any_of_a_worker] * 4,
            _killed_at(_a_step(rng)),
            _cut(rng.choice(["source", "target", "tracking", "dagster"])),
            _stopped(rng.choice(["target", "tracking"])),
            _killed_during_outage,
            _refused,
            _in_a_race,
        ]
    )
    return chosen(rng)


def _of_a_single_day(rng: Random) -> list[Fault]:
    """Return any fault; its step, if any, is before the commit of the only day."""
    return [
        replace(fault, step=Step.BEFORE_COMMIT) if fault.step is Step.AFTER_COMMIT else fault
        for fault in _any(rng)
    ]


def _a_step(rng: Random) -> Step:
    return rng.choice(list(Step))


def _more_faults(rng: Random) -> list[Fault]:
    """Return one or two faults that can be combined with any other fault."""
    light = [_killed, _cancelled, _cut("source"), _cut("target"), _cut("tracking"), _refused]
    return [fault for _ in range(rng.choice([1, 1, 2])) for fault in rng.choice(light)(rng)]


@dataclass(frozen=True)
class Kind:
    """A kind of round: the functions that choose its faults and its works."""

    faults: Callable[[Random], list[Fault]]
    works: Callable[[Random], list[Work]] = any_works


_FILLABLE = [name for name in DATASETS if not TABLES[name].partitioned]
_OF_STACK = ("orders", "events", "visits")

KINDS: dict[str, Kind] = {
    "kill": Kind(_killed),
    **{f"kill_{step.name.lower()}": Kind(_killed_at(step)) for step in Step},
    "retry": Kind(_killed_and_retried),
    "cancel": Kind(_cancelled),
    "sleep": Kind(_asleep),
    **{f"cut_{where}": Kind(_cut(where)) for where in ("source", "target", "tracking", "dagster")},
    **{
        f"stop_{where}": Kind(_stopped(where))
        for where in ("source", "target", "tracking", "dagster")
    },
    "kill_in_outage": Kind(_killed_during_outage),
    "refuse": Kind(_refused),
    "full": Kind(_full, works_of(*_FILLABLE)),
    "race": Kind(_in_a_race, racing_works),
    "upsert": Kind(_any, works_of("accounts")),
    "append": Kind(_any, appending_works),
    "partition": Kind(_any, works_of("metrics")),
    "day": Kind(_of_a_single_day, single_days),
    "schedule": Kind(_of_a_single_day, nightly_works),
    "slots": Kind(_holder_killed, crowded_works),
    "launcher": Kind(_any_of_a_worker, launched_works),
    "fork_server": Kind(_fork_server_killed, launched_works),
}
"""The kinds of rounds with workers only."""

STACK_KINDS = (
    "stack_kill_all",
    "stack_daemon_off",
    "stack_cancel_run",
    "stack_cancel_backfill",
    "stack_kill_run",
)
"""The kinds of rounds with a full Dagster: see `stack_rounds`."""
