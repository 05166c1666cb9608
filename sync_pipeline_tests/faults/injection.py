"""Inject a round's faults into its workers, each at its planned time.

Each kind of fault is a generator: the code before `yield` runs while the worker waits at a step,
and the code after it runs once the worker has continued. If the generator ends without yielding,
the fault had no effect. For how faults are chosen, see `plan`.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import dagster as dg
import psycopg2

from sync_pipeline_tests.faults.disk import TABLESPACE
from sync_pipeline_tests.faults.facts import holders_of_slots
from sync_pipeline_tests.faults.gates import closed_gate
from sync_pipeline_tests.faults.launching import LaunchedRun
from sync_pipeline_tests.faults.plan import Fault, What
from sync_pipeline_tests.faults.round import Launched, Round
from sync_pipeline_tests.faults.tables import TABLES
from sync_pipeline_tests.faults.world import LOST_AFTER_SECONDS, Step, day_number
from sync_pipeline_tests.waiting import holds_within, pause

_SECONDS_TO_COME = 15
_SECONDS_TO_DIE = 5
_SECONDS_TO_TAKE_OVER = 20
_SECONDS_TO_LAUNCH = 45
_SECONDS_TO_BE_LOST = 8 * LOST_AFTER_SECONDS
_PURPOSES = {
    "source": "application_name LIKE 'sync_pipeline: read %'",
    "target": "application_name LIKE 'sync_pipeline: sync %'",
    "tracking": "application_name IN ('sync_pipeline: tracking', 'sync_pipeline: heartbeat',"
    " 'sync_pipeline: reconcile', 'sync_pipeline: records')",
    "dagster": "application_name NOT LIKE 'sync_pipeline%'",
}
_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = 'sync' AND {purpose}
"""


def inject(played: Round, fault: Fault) -> bool:
    """Inject `fault`; return whether it had an effect.

    It has no effect if no worker reaches its step or if the worker has already ended.
    """
    steps = _ACTS[fault.what](played, fault)
    if fault.step is None:
        pause(fault.after)
        return next(steps, True) is None and _finish(steps)
    struck = False
    work = played.plan.works[fault.victim]
    if fault.step is not Step.BEFORE_LOCK and work.count > 1:  # else close it before the first day
        victim = played.victim(fault).worker
        holds_within(lambda: victim.is_over or played.has_begun(fault.victim), _SECONDS_TO_COME)
        # Wait at most half of the work's duration, because it must still be running afterwards.
        longest = work.count * played.plan.pace / TABLES[work.dataset].parallel_days / 2
        pause(min(fault.after, longest))
    day = day_number(work.first + (work.count // 2 if fault.step is Step.AFTER_COMMIT else 0))
    try:
        with closed_gate(played.world, fault.step, work.dataset, day) as gate:
            if gate.wait(_SECONDS_TO_COME, unless=lambda: played.victim(fault).worker.is_over):
                struck = next(steps, True) is None
    except psycopg2.Error:
        played.note(f"{fault}: the gate's server was not available")
    return struck and _finish(steps)


def _finish(steps: Iterator[None]) -> bool:
    for _ in steps:
        pass
    return True


def _kill(played: Round, fault: Fault) -> Iterator[None]:
    victim = played.victim(fault)
    if not victim.worker.signal(signal.SIGKILL):
        return
    played.hurt.add(victim.key)
    victim.worker.process.wait(_SECONDS_TO_DIE)
    yield
    _launch_again(played, fault, victim)


def _kill_holder(played: Round, fault: Fault) -> Iterator[None]:
    """Kill a worker that holds a slot of the source, so that another worker can acquire it."""
    holders = holders_of_slots(played.world)
    pids = played.world.query(
        "tracking", "SELECT pid FROM sync_worker WHERE run_id = ANY(%s)", [holders]
    )
    known = {row["pid"] for row in pids}
    victims = [one for one in played.launched if one.worker.pid in known]
    if not victims or not victims[0].worker.signal(signal.SIGKILL):
        return
    played.hurt.add(victims[0].key)
    victims[0].worker.process.wait(_SECONDS_TO_DIE)
    yield


def _kill_server(played: Round, fault: Fault) -> Iterator[None]:
    """Kill the fork server while it is requested to fork a run.

    The run must be launched nevertheless: by a new fork server or by Dagster's default launcher.
    """
    assert played.launcher is not None
    server = played.launcher.fork_server()
    server.suspend()
    other = played.launch(fault.victim, f"w{fault.victim}-without-fork-server", resync=True)
    run = other.worker.process
    assert isinstance(run, LaunchedRun)
    if fault.lasts:  # until the request waits for the fork server
        holds_within(lambda: run.status is dg.DagsterRunStatus.STARTING, _SECONDS_TO_LAUNCH)
        pause(fault.lasts)
    server.kill()
    yield
    run.wait(_SECONDS_TO_LAUNCH)
    by = "a new fork server" if run.is_forked else "Dagster's default launcher"
    played.strike(f"run launched by {by}", f"{other.key} launched by {by}")


def _cancel(played: Round, fault: Fault) -> Iterator[None]:
    victim = played.victim(fault)
    if not victim.worker.signal(signal.SIGTERM):
        return
    yield
    _launch_again(played, fault, victim)


def _launch_again(played: Round, fault: Fault, victim: Launched) -> None:
    if fault.again:
        played.launch(victim.number, victim.key)


def _sleep(played: Round, fault: Fault) -> Iterator[None]:
    """Suspend a worker until it has been declared lost and another worker has synced its days."""
    victim = played.victim(fault)
    if not victim.worker.signal(signal.SIGSTOP):
        return
    played.hurt.add(victim.key)
    try:
        if fault.split:
            _terminate(played, "target")
            _terminate(played, "tracking")
        yield
        if not holds_within(lambda: _is_deregistered(played, victim), _SECONDS_TO_BE_LOST):
            played.violations.append(f"{victim.key}: suspended, but not declared lost")
        other = played.launch(victim.number, f"{victim.key}-takeover", resync=True)
        other.worker.process.wait(_SECONDS_TO_TAKE_OVER)
        alone = len(played.plan.faults) == 1 and not other.work.fails_if_synced
        if alone and other.worker.process.poll() != 0:
            played.violations.append(
                f"{other.key}: took over from a lost worker, but ended with exit code "
                f"{other.worker.process.poll()}"
            )
    finally:
        victim.worker.signal(signal.SIGCONT)


def _is_deregistered(played: Round, victim: Launched) -> bool:
    values = [victim.worker.pid]
    return not played.world.query("tracking", "SELECT 1 FROM sync_worker WHERE pid = %s", values)


def _cut(played: Round, fault: Fault) -> Iterator[None]:
    cut = 0
    for number in range(fault.times):
        if number:
            pause(0.05)
        cut += _terminate(played, fault.where)
    if cut:
        yield


def _terminate(played: Round, where: str) -> int:
    """Terminate the workers' connections to the `where` database; return how many there were."""
    with suppress(psycopg2.Error):  # its server may be down
        return len(played.world.query(where, _TERMINATE.format(purpose=_PURPOSES[where])))
    return 0


def _stop(played: Round, fault: Fault) -> Iterator[None]:
    server = played.world.server(fault.where)
    server.stop_at_once()
    yield
    pause(fault.lasts)
    server.start()


def _refuse(played: Round, fault: Fault) -> Iterator[None]:
    dataset = played.plan.works[fault.victim].dataset
    _try(played, f"REVOKE INSERT ON {dataset} FROM sync")
    yield
    pause(fault.lasts)
    _try(played, f"GRANT INSERT ON {dataset} TO sync")


def _hold(played: Round, fault: Fault) -> Iterator[None]:
    pause(fault.lasts)  # the gate is closed during this time
    yield


def _fill(played: Round, fault: Fault) -> Iterator[None]:
    disk = played.disk
    if disk is None:
        played.note("no disk could be mounted, so none was filled")
        return
    disk.fill()
    yield
    pause(fault.lasts)
    disk.empty()


def move_to_tiny_disk(played: Round) -> None:
    """Move the target tables to the small disk, for a round that fills that disk."""
    for dataset in {work.dataset for work in played.plan.works}:
        played.world.query("target", f"ALTER TABLE {dataset} SET TABLESPACE {TABLESPACE}")


def undo_all(played: Round) -> None:
    """Undo all faults: start servers, free the disk, restore permissions, resume workers."""
    played.world.start_servers()
    if played.disk is not None:
        played.disk.empty()
    for work in played.plan.works:
        _try(played, f"GRANT INSERT ON {work.dataset} TO sync")
    for launched in played.launched:
        launched.worker.signal(signal.SIGCONT)


def _try(played: Round, statement: str) -> None:
    with suppress(psycopg2.Error):
        played.world.query("target", statement)


_ACTS: dict[What, Callable[[Round, Fault], Iterator[None]]] = {
    What.KILL: _kill,
    What.KILL_HOLDER: _kill_holder,
    What.KILL_SERVER: _kill_server,
    What.CANCEL: _cancel,
    What.SLEEP: _sleep,
    What.CUT: _cut,
    What.STOP: _stop,
    What.REFUSE: _refuse,
    What.HOLD: _hold,
    What.FILL: _fill,
}
