"""Run a round: launch its batches, inject its faults, recover, and check the invariants.

Each wait has a timeout, and a process that has not ended by then counts as a violation. For what
must hold at the end, see `invariants`.
"""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from copy import deepcopy
from pathlib import Path

import psycopg2

from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline_tests.faults import facts, invariants
from sync_pipeline_tests.faults.disk import TinyDisk
from sync_pipeline_tests.faults.injection import inject, move_to_tiny_disk, undo_all
from sync_pipeline_tests.faults.launching import Launcher
from sync_pipeline_tests.faults.plan import HARMLESS, Fault, Plan, What
from sync_pipeline_tests.faults.round import Launched, Round
from sync_pipeline_tests.faults.tables import TABLES
from sync_pipeline_tests.faults.works import Form
from sync_pipeline_tests.faults.world import Layout, World
from sync_pipeline_tests.waiting import holds_within, pause

_SECONDS_TO_END = 45
_SECONDS_TO_AGREE = 25
_MAX_RETRIED = 3
_RECONCILE_SECONDS = 0.2
_CHECK_SECONDS = 0.05


def play(plan: Plan, world: World, folder: Path, disk: TinyDisk | None) -> Round:
    """Run a round and write its logs to `folder`. An exception counts as a violation."""
    played = Round(plan, world, folder, disk)
    try:
        _play(played)
    except Exception:
        played.violations.append(f"the round failed: {traceback.format_exc()}")
    finally:
        undo_all(played)
        for launched in played.launched:
            launched.worker.end(_SECONDS_TO_END)
        if played.launcher is not None:
            played.launcher.end()
    return played


def _play(played: Round) -> None:
    plan = played.plan
    played.world.reset(plan.pace)
    if any(fault.what is What.FILL for fault in plan.faults) and played.disk is not None:
        move_to_tiny_disk(played)
    if any(work.form is Form.LAUNCHER for work in plan.works):
        world = played.world
        played.launcher = Launcher(
            world.environment, world.instance, played.folder / "launcher.log"
        )
    _reconcile(played)  # at least once, even if not during the faults
    with (
        _check_repeatedly(played),
        _reconcile_repeatedly(played) if plan.reconciling else nullcontext(),
    ):
        _run_with_faults(played)
    _check_unhurt(played)
    _check_requested(played)
    undo_all(played)
    _agree(played)
    played.violations += invariants.violations(played)
    if plan.retry and not played.violations:
        _retry(played)


def _run_with_faults(played: Round) -> None:
    """Launch the batches, inject the faults, and wait until all workers have ended."""
    works, faults = played.plan.works, played.plan.faults
    with ThreadPoolExecutor(len(works) + len(faults)) as pool:
        injecting = [pool.submit(_inject, played, fault) for fault in faults]
        starting = [pool.submit(_start, played, number) for number in range(len(works))]
        for future in [*starting, *injecting]:
            future.result(2 * _SECONDS_TO_END)
    _wait_for_ends(played)


def _inject(played: Round, fault: Fault) -> None:
    done = inject(played, fault)
    played.note(f"{fault}: {'done' if done else 'no effect'}")
    if done:
        played.strike(fault.label, str(fault))


def _start(played: Round, number: int) -> None:
    pause(played.plan.works[number].starts_after)
    played.launch(number, f"w{number}")


def _wait_for_ends(played: Round) -> None:
    for launched in played.launched:
        launched.worker.process.wait(_SECONDS_TO_END)
        if not launched.worker.is_over:
            played.violations.append(f"{launched.key}: its process did not end; see its log")
            launched.worker.signal(signal.SIGUSR1)  # writes its stack traces to the log
            pause(0.5)
            launched.worker.signal(signal.SIGKILL)


@contextmanager
def _reconcile_repeatedly(played: Round) -> Iterator[None]:
    """Run the reconciler repeatedly, as the daemon does, while the block runs."""
    with _every(_RECONCILE_SECONDS, lambda: _reconcile(played)):
        yield


@contextmanager
def _check_repeatedly(played: Round) -> Iterator[None]:
    """Check repeatedly for inconsistencies while the block runs."""

    def watch() -> None:
        with suppress(psycopg2.Error):  # the tracking server may be down
            played.violations += facts.inconsistencies(played.world)
        with suppress(psycopg2.Error):
            _check_slots(played)

    with _every(_CHECK_SECONDS, watch):
        yield


def _check_slots(played: Round) -> None:
    """Check that no more days are read at once than a source has slots.

    The sessions of a killed, suspended or lost worker may remain for a while after its slot has
    been released. All slots are released if the target restarts.
    """
    stopped = {fault.where for fault in played.plan.faults if fault.what is What.STOP}
    if "target" in stopped:
        return
    for dataset in {work.dataset for work in played.plan.works}:
        table = TABLES[dataset]
        if table.max_connections is not None:
            allowed = table.max_connections + len(played.hurt) * table.parallel_days
            reading = facts.readers(played.world, dataset)
            if reading > allowed and not facts.has_lost_workers(played.world):
                played.violations.append(
                    f"{reading} sessions read {dataset}, allowed are {allowed}"
                )


def _check_unhurt(played: Round) -> None:
    """Check that no worker failed because another one, or the fork server, was killed."""
    if any(fault.what not in HARMLESS for fault in played.plan.faults):
        return
    for launched in played.launched:
        code = launched.worker.process.poll()
        if launched.key not in played.hurt and code != 0 and _must_succeed(played, launched):
            played.violations.append(
                f"{launched.key}: nothing happened to it, but it ended with exit code {code}"
            )


def _check_requested(played: Round) -> None:
    """Check that every nightly run and every run for a single day was created."""
    first = {launched.number: launched for launched in reversed(played.launched)}.values()
    for launched in first:
        printed = launched.work.form in (Form.DAY, Form.SCHEDULE)
        created = any("run_id" in message for message in launched.worker.messages())
        if printed and not created and launched.worker.process.poll() == 0:
            played.violations.append(f"{launched.key}: ended successfully without a run")


@contextmanager
def _every(seconds: float, work: Callable[[], object]) -> Iterator[None]:
    """Call `work` every `seconds` in a separate thread while the block runs."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _reconcile(played: Round) -> None:
    """Run the reconciler once, as the sensor does. The run may fail if a database is down."""
    world, memory = played.world, deepcopy(played.memory)
    reconciler = Reconciler(world.instance, world.settings, world.datasets, memory)
    try:
        for correction in reconciler.run_once():
            played.note(f"corrected: {correction.what}: {correction.why} ({correction.about})")
    except Exception as error:
        played.note(f"reconciler failed: {' '.join(str(error).split())[:300]}")
    else:
        played.memory = memory


def _agree(played: Round) -> None:
    """Run the reconciler until nothing is left open."""

    def agreed() -> bool:
        _reconcile(played)
        return not facts.open_things(played)

    if not holds_within(agreed, _SECONDS_TO_AGREE):
        played.violations += [f"stays open: {thing}" for thing in facts.open_things(played)]


def _retry(played: Round) -> None:
    """Relaunch what did not succeed. Now that there are no faults, all of it must succeed."""
    world = played.world
    records = {row["batch_key"]: row["status"] for row in facts.batch_records(world)}
    again = [
        one
        for one in _latest_of_each_key(played)
        if not _has_succeeded(one, records) and _must_succeed(played, one)
    ]
    again = again[:_MAX_RETRIED]
    if again and played.plan.changed:
        world.next_generation(0.0)
    retried = []
    for launched in again:
        # `retry` finds a batch by its record, so a batch without a record is launched instead.
        retry = launched.key in records
        one = played.launch(launched.number, launched.key, retry=retry)
        one.worker.process.wait(_SECONDS_TO_END)
        if one.worker.process.poll() != 0:
            played.violations.append(
                f"{one.key}: retried without faults, but ended with exit code "
                f"{one.worker.process.poll()}"
            )
        retried.append(one)
    _agree(played)
    played.violations += invariants.violations(played)
    records = {row["batch_key"]: row["status"] for row in facts.batch_records(world)}
    days = {(row["dataset"], row["sync_date"]): row["status"] for row in facts.day_records(world)}
    for one in retried:
        unsuccessful = [key for key in one.batch_keys if records.get(key) != "success"]
        if not unsuccessful and one.work.form in (Form.DAY, Form.SCHEDULE):
            unsuccessful = [f"day {d}" for d in one.days if days.get((one.dataset, d)) != "success"]
        played.violations += [
            f"{one.key}: retried without faults, but {what} is not a success"
            for what in unsuccessful
        ]


def _has_succeeded(launched: Launched, records: dict[str, str]) -> bool:
    """Return whether there is nothing to retry."""
    if launched.work.form in (Form.DAY, Form.SCHEDULE):
        return launched.worker.process.poll() == 0
    return launched.work.fails_if_synced or records.get(launched.key) == "success"


def _must_succeed(played: Round, launched: Launched) -> bool:
    """Return whether a worker must succeed if nothing happens to it.

    With a separate tracking database, a day is recorded shortly after its commit. A worker that
    begins the day in between does not skip it, and a table that only appends then rejects its rows.
    """
    apart = played.plan.layout is Layout.ALL_APART
    return TABLES[launched.dataset].can_resync or not apart


def _latest_of_each_key(played: Round) -> list[Launched]:
    return list({launched.key: launched for launched in played.launched}.values())
