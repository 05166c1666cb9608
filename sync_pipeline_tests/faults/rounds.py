"""Playing one round: batches start, faults strike, everything comes back, and the record is true.

What must hold is in `invariants`. Here is what happens before: every wait has a bound, and what
does not end within it is a violation like any other.
"""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path

import psycopg2

from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline_tests.faults import facts, invariants
from sync_pipeline_tests.faults.disk import TinyDisk
from sync_pipeline_tests.faults.injection import inject, move_to_tiny_disk, undo_all
from sync_pipeline_tests.faults.plan import Fault, Plan, What
from sync_pipeline_tests.faults.round import Launched, Round
from sync_pipeline_tests.faults.world import World
from sync_pipeline_tests.waiting import holds_within, pause

_SECONDS_TO_END = 45
_SECONDS_TO_AGREE = 25
_MAX_RETRIED = 3
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_GLANCES = 0.05


def play(plan: Plan, world: World, folder: Path, disk: TinyDisk | None) -> Round:
    """Play a round to its end; its logs go into `folder`. Whatever breaks it is a violation."""
    played = Round(plan, world, folder, disk)
    try:
        _play(played)
    except Exception:
        played.violations.append(f"the round broke off: {traceback.format_exc()}")
    finally:
        undo_all(played)
        for launched in played.launched:
            launched.worker.end(_SECONDS_TO_END)
    return played


def _play(played: Round) -> None:
    plan = played.plan
    played.world.reset(plan.pace)
    if any(fault.what is What.FILL for fault in plan.faults) and played.disk is not None:
        move_to_tiny_disk(played)
    _look(played)  # it has looked before, whoever is off while the faults happen
    with _watching(played), _looking(played) if plan.looking else _nobody():
        _faulty_part(played)
    undo_all(played)
    _agree(played)
    played.violations += invariants.broken(played)
    if plan.retry and not played.violations:
        _retry(played)


def _faulty_part(played: Round) -> None:
    """Launch the batches, inject the faults, and wait until nobody works any more."""
    works, faults = played.plan.works, played.plan.faults
    with ThreadPoolExecutor(len(works) + len(faults)) as pool:
        injecting = [pool.submit(_inject, played, fault) for fault in faults]
        starting = [pool.submit(_start, played, number) for number in range(len(works))]
        for future in [*starting, *injecting]:
            future.result(2 * _SECONDS_TO_END)
    _wait_for_ends(played)


def _inject(played: Round, fault: Fault) -> None:
    done = inject(played, fault)
    played.note(f"{fault}: {'done' if done else 'nobody came'}")
    if done:
        played.strike(fault.label, str(fault))


def _start(played: Round, number: int) -> None:
    pause(played.plan.works[number].starts_after)
    played.launch(number, f"w{number}")


def _wait_for_ends(played: Round) -> None:
    for launched in played.launched:
        launched.worker.process.wait(_SECONDS_TO_END)
        if not launched.worker.is_over:
            played.violations.append(f"{launched.key}: its process does not end (see its log)")
            launched.worker.signal(signal.SIGUSR1)  # writes its stacks into the log
            pause(0.5)
            launched.worker.signal(signal.SIGKILL)


@contextmanager
def _looking(played: Round) -> Iterator[None]:
    """Let the reconciler look again and again, as the daemon does, while the block lasts."""
    with _every(_SECONDS_BETWEEN_LOOKS, lambda: _look(played)):
        yield


@contextmanager
def _watching(played: Round) -> Iterator[None]:
    """Compare, again and again while the block lasts, what must hold at every moment."""

    def watch() -> None:
        with suppress(psycopg2.Error):  # the records' server may be down
            played.violations += facts.untrue_now(played.world)

    with _every(_SECONDS_BETWEEN_GLANCES, watch):
        yield


@contextmanager
def _every(seconds: float, work: Callable[[], object]) -> Iterator[None]:
    """Do `work` in a thread, with pauses of so many seconds, while the block lasts."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(seconds):
            work()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _nobody() -> Iterator[None]:
    """Nobody looks while the block lasts: the daemon is off."""
    yield


def _look(played: Round) -> None:
    """Look once, as the sensor does. A look may fail: databases are away."""
    world, memory = played.world, deepcopy(played.memory)
    reconciler = Reconciler(world.instance, world.settings, world.datasets, memory)
    try:
        for correction in reconciler.run_once():
            played.note(f"corrected: {correction.what}: {correction.why} ({correction.about})")
    except Exception as error:
        played.note(f"look failed: {' '.join(str(error).split())[:300]}")
    else:
        played.memory = memory


def _agree(played: Round) -> None:
    """Look until nothing is open any more."""

    def agreed() -> bool:
        _look(played)
        return not facts.open_things(played)

    if not holds_within(agreed, _SECONDS_TO_AGREE):
        played.violations += [f"stays open: {thing}" for thing in facts.open_things(played)]


def _retry(played: Round) -> None:
    """Launch again what did not end as a success; without a fault, all of it must now."""
    world = played.world
    records = {row["batch_key"]: row["status"] for row in facts.batch_records(world)}
    again = [one for one in _latest_of_each_key(played) if records.get(one.key) != "success"]
    again = again[:_MAX_RETRIED]
    if again and played.plan.changed:
        world.next_generation(0.0)
    for launched in again:
        # The command `retry` knows batches by their records.
        retry = launched.key in records
        retried = played.launch(launched.number, launched.key, retry=retry)
        retried.worker.process.wait(_SECONDS_TO_END)
        if retried.worker.process.poll() != 0:
            played.violations.append(
                f"{launched.key}: retried without a fault, it ended with exit code "
                f"{retried.worker.process.poll()}"
            )
    _agree(played)
    played.violations += invariants.broken(played)
    records = {row["batch_key"]: row["status"] for row in facts.batch_records(world)}
    for launched in again:
        status = records.get(launched.key)
        if status != "success":
            played.violations.append(
                f"{launched.key}: retried without a fault, its record is {status}"
            )


def _latest_of_each_key(played: Round) -> list[Launched]:
    return list({launched.key: launched for launched in played.launched}.values())
