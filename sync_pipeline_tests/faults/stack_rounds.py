"""Rounds with a full Dagster instance: web server, daemon, code server, and the runs they start.

Here the round does not run the reconciler: the daemon's sensors must close all records. Each round
starts its own Dagster instance, which takes 30 seconds or more.
"""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

from sync_pipeline.local.stack import RunningDagster
from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.faults import facts, invariants
from sync_pipeline_tests.faults.killing import kill_all
from sync_pipeline_tests.faults.plan import Plan
from sync_pipeline_tests.faults.round import Round
from sync_pipeline_tests.faults.world import World, day_number
from sync_pipeline_tests.stack_project import run_dagster
from sync_pipeline_tests.waiting import holds_within, pause

_SECONDS_TO_BEGIN = 90
_SECONDS_TO_AGREE = 150
_TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
_CANCEL = "mutation ($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }"


def play_on_stack(plan: Plan, world: World, folder: Path) -> Round:
    """Run a round whose kind is one of `STACK_KINDS`."""
    played = Round(plan, world, folder, None)
    try:
        world.reset(plan.pace)
        _ACTS[plan.kind](played, Random(f"{plan.seed}/{plan.number}/stack"))  # noqa: S311
        played.violations += invariants.violations(played)
    except Exception:
        played.violations.append(f"the round failed: {traceback.format_exc()}")
    finally:
        for launched in played.launched:
            launched.worker.end(_SECONDS_TO_BEGIN)
    return played


@contextmanager
def _dagster(played: Round) -> Iterator[RunningDagster]:
    with run_dagster(played.world.settings) as dagster:
        played.note("Dagster is running")
        yield dagster


def _agree(played: Round) -> None:
    """Wait until the daemon has closed all records, runs and backfills."""
    if not holds_within(lambda: not facts.open_things(played), _SECONDS_TO_AGREE):
        played.violations += [f"stays open: {thing}" for thing in facts.open_things(played)]


def _launch_job(played: Round, dagster: RunningDagster, number: int) -> str:
    work = played.plan.works[number]
    config = {
        "dataset": work.dataset,
        "start_date": str(day_number(work.first)),
        "end_date": str(day_number(work.first + work.count - 1)),
        "already_synced": "resync",
    }
    key = dagster.launch_job("batch_backfill", config=config)
    played.elsewhere[key] = work.dataset
    played.note(f"launched run {key} of {work.dataset}")
    return key


def _launch_backfill(played: Round, dagster: RunningDagster, number: int) -> str:
    work = played.plan.works[number]
    days = [day_number(work.first + n) for n in range(work.count)]
    key = launch_backfill(dagster, days, asset=work.dataset)
    played.elsewhere[key] = work.dataset
    played.note(f"launched backfill {key} of {work.dataset}")
    return key


def _at_a_random_moment(played: Round, rng: Random, key: str) -> None:
    """Wait until the first day of the batch has started, and then for a random length of time."""
    began = """SELECT 1 FROM sync_attempt JOIN daily_sync_status record ON record.id = batch_id
        WHERE batch_key = %s AND started_at IS NOT NULL"""
    if not holds_within(lambda: played.world.query("tracking", began, [key]), _SECONDS_TO_BEGIN):
        played.violations.append(f"{key} did not start")
    pause(rng.random() * played.plan.pace * 15)


def _everything_killed(played: Round, rng: Random) -> None:
    with _dagster(played) as dagster:
        backfill = _launch_backfill(played, dagster, 1) if rng.random() < 0.5 else None
        run = _launch_job(played, dagster, 0)
        _at_a_random_moment(played, rng, backfill or run)
        kill_all(dagster)
        played.strike("everything killed", "everything killed")
    with _dagster(played):
        _agree(played)


def _daemon_off(played: Round, rng: Random) -> None:
    """Run three batches from the command line without a daemon; kill one and cancel one."""
    for number, sign in enumerate((signal.SIGKILL, signal.SIGTERM, None)):
        launched = played.launch(number, f"w{number}")
        holds_within(partial(played.has_begun, number), _SECONDS_TO_BEGIN)
        pause(rng.random() * played.plan.pace * 10)
        if sign is not None:
            launched.worker.signal(sign)
            played.strike(f"{sign.name} while the daemon is off", f"{sign.name} to w{number}")
        launched.worker.process.wait(_SECONDS_TO_BEGIN)
    with _dagster(played):
        _agree(played)


def _run_cancelled(played: Round, rng: Random) -> None:
    with _dagster(played) as dagster:
        run = _launch_job(played, dagster, 0)
        _at_a_random_moment(played, rng, run)
        dagster.graphql(_TERMINATE, {"id": run})
        played.strike("run cancelled", f"run {run} cancelled")
        _agree(played)


def _backfill_cancelled(played: Round, rng: Random) -> None:
    with _dagster(played) as dagster:
        backfill = _launch_backfill(played, dagster, 0)
        _at_a_random_moment(played, rng, backfill)
        dagster.graphql(_CANCEL, {"id": backfill})
        played.strike("backfill cancelled", f"backfill {backfill} cancelled")
        _agree(played)


def _run_killed(played: Round, rng: Random) -> None:
    with _dagster(played) as dagster:
        run = _launch_job(played, dagster, 0)
        _at_a_random_moment(played, rng, run)
        workers = played.world.query("tracking", "SELECT pid FROM sync_worker")
        for worker in workers:
            os.kill(worker["pid"], signal.SIGKILL)
        played.strike("run killed", f"run {run} killed")
        _agree(played)


_ACTS: dict[str, Callable[[Round, Random], None]] = {
    "stack_kill_all": _everything_killed,
    "stack_daemon_off": _daemon_off,
    "stack_cancel_run": _run_cancelled,
    "stack_cancel_backfill": _backfill_cancelled,
    "stack_kill_run": _run_killed,
}
