"""Save all data from a failed round as text files, so that the cause can be found."""

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from sync_pipeline_tests.faults import row_invariants
from sync_pipeline_tests.faults.facts import gather, key_of
from sync_pipeline_tests.faults.round import Round


def keep(played: Round, folder: Path) -> Path:
    """Write the data from a round to a new folder under `folder`; return the new folder's path."""
    plan = played.plan
    place = folder / f"seed-{plan.seed}-round-{plan.number}-{plan.kind}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(played.folder, place)
    _write(place / "violations.txt", played.violations)
    _write(place / "notes.txt", played.notes)
    _write(place / "plan.txt", (f"{key}: {value}" for key, value in asdict(plan).items()))
    facts = gather(played)
    _write_rows(place / "batches.txt", facts.batches)
    _write_rows(place / "days.txt", facts.days)
    _write_rows(place / "attempts.txt", facts.attempts)
    for table in ("sync_worker", "sync_correction"):
        rows = played.world.query("tracking", f"SELECT * FROM {table}")
        _write_rows(place / f"{table}.txt", rows)
    _write(
        place / "runs.txt", (f"{run.run_id} {run.status.value} {run.tags}" for run in facts.runs)
    )
    _write(place / "events.txt", _events(played, facts.runs))
    differing = row_invariants.no_day_mixes_generations(facts)
    _write(place / "differing_days.txt", differing)
    return place


def _events(played: Round, runs: list[dg.DagsterRun]) -> Iterable[str]:
    keys = {launched.key for launched in played.launched} | set(played.batch_keys())
    keys |= {run_id for launched in played.launched for run_id in launched.single_runs}
    for run in reversed(runs):
        if key_of(run) in keys:
            for entry in played.world.instance.all_logs(run.run_id):
                kind = entry.dagster_event.event_type_value if entry.dagster_event else "LOG"
                yield f"{entry.timestamp:.3f} {run.run_id[:8]} {kind} {entry.user_message[:500]}"


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    _write(path, (" | ".join(f"{k}={v}" for k, v in row.items()) for row in rows))


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
