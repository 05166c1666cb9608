"""Read what the databases and Dagster contain after a round, for `invariants` to compare."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from sync_pipeline_tests.faults.round import Round
from sync_pipeline_tests.faults.world import DATASETS, World

Row = dict[str, Any]
_MAX_EVENTS = 2000


def batch_records(world: World) -> list[Row]:
    return world.query(
        "tracking", "SELECT * FROM daily_sync_status WHERE kind = 'batch' ORDER BY id"
    )


def day_records(world: World) -> list[Row]:
    return world.query(
        "tracking", "SELECT * FROM daily_sync_status WHERE kind = 'day' ORDER BY dataset, sync_date"
    )


def attempts(world: World) -> list[Row]:
    return world.query("tracking", "SELECT * FROM sync_attempt ORDER BY id")


def contents(world: World) -> dict[tuple[str, date], list[tuple[int, int]]]:
    """Return the target's rows by dataset and day, as sorted pairs of ID and amount."""
    found: dict[tuple[str, date], list[tuple[int, int]]] = defaultdict(list)
    for dataset in DATASETS:
        for row in world.query("target", f"SELECT * FROM {dataset} ORDER BY day, id, amount"):
            found[dataset, row["day"]].append((row["id"], row["amount"]))
    return found


@dataclass
class Reported:
    """Dagster's materializations: the highest attempt number for each day.

    If the tracking tables were unavailable, a materialization has no attempt number; its dataset,
    day and run are in `unnumbered` instead.
    """

    attempts: dict[tuple[str, date], int] = field(default_factory=dict)
    unnumbered: set[tuple[str, date, str]] = field(default_factory=set)


def reported(world: World) -> Reported:
    found = Reported()
    for dataset in DATASETS:
        fetched = world.instance.fetch_materializations(dg.AssetKey(dataset), limit=_MAX_EVENTS)
        for record in fetched.records:
            event = record.asset_materialization
            if event is None or event.partition is None:
                continue
            day = date.fromisoformat(event.partition)
            number = event.metadata.get("attempt")
            if number is None:
                found.unnumbered.add((dataset, day, record.run_id))
            else:
                highest = max(found.attempts.get((dataset, day), 0), int(str(number.value)))
                found.attempts[dataset, day] = highest
    return found


@dataclass(frozen=True)
class Facts:
    """All facts about a round at one point in time."""

    world: World
    launched_keys: dict[str, str]  # batch key to dataset
    folder: Path
    batches: list[Row]
    days: list[Row]
    attempts: list[Row]
    contents: dict[tuple[str, date], list[tuple[int, int]]]
    reported: Reported
    runs: list[dg.DagsterRun]

    def current_attempts(self, batch: Row) -> list[Row]:
        return [a for a in self.attempts if a["batch_id"] == batch["id"] and not a["superseded"]]

    def latest_attempt(self, record: Row) -> Row | None:
        """Return the attempt whose number is in the day's record, or None if there is none."""
        for attempt in self.attempts:
            key = (attempt["dataset"], attempt["sync_date"], attempt["attempt"])
            if key == (record["dataset"], record["sync_date"], record["attempt"]):
                return attempt
        return None


def gather(played: Round) -> Facts:
    world = played.world
    return Facts(
        world=world,
        launched_keys={one.key: one.dataset for one in played.launched} | played.elsewhere,
        folder=played.folder,
        batches=batch_records(world),
        days=day_records(world),
        attempts=attempts(world),
        contents=contents(world),
        reported=reported(world),
        runs=list(world.instance.get_runs()),
    )


def inconsistencies(world: World) -> list[str]:
    """Return all inconsistencies; there must be none, even while workers are running."""
    found = world.query(
        "tracking",
        """SELECT 'batch ' || batch.batch_key || ' is ' || batch.status || ' while attempt '
                  || attempt.id || ' is ' || attempt.state AS said
             FROM sync_attempt attempt JOIN daily_sync_status batch ON batch.id = attempt.batch_id
             WHERE batch.status <> 'syncing' AND attempt.state IN ('pending', 'syncing')
               AND NOT attempt.superseded
           UNION ALL
           SELECT 'day ' || day.dataset || ' ' || day.sync_date || ' is ' || day.status
                  || ' while attempt ' || attempt.id || ' is syncing'
             FROM sync_attempt attempt JOIN daily_sync_status day
               ON day.kind = 'day' AND day.dataset = attempt.dataset
                  AND day.sync_date = attempt.sync_date AND day.attempt = attempt.attempt
             WHERE day.status <> 'syncing' AND attempt.state = 'syncing'
           UNION ALL
           SELECT 'day ' || dataset || ' ' || sync_date || ' is in progress twice' FROM sync_attempt
             WHERE state = 'syncing' GROUP BY dataset, sync_date HAVING count(*) > 1""",
    )
    return [row["said"] for row in found]


def open_things(played: Round) -> list[str]:
    """Return whatever is still open in the records or in Dagster, one line per item."""
    world = played.world
    found = world.query(
        "tracking",
        """SELECT kind || ' record ' || id || ' is syncing' AS said FROM daily_sync_status
             WHERE status = 'syncing'
           UNION ALL SELECT 'attempt ' || id || ' is ' || state FROM sync_attempt
             WHERE state IN ('pending', 'syncing')
           UNION ALL SELECT 'worker of run ' || run_id || ' is registered' FROM sync_worker
           UNION ALL SELECT 'attempt ' || id || ' is not reported to Dagster' FROM sync_attempt
             WHERE state = 'success' AND materialized_at IS NULL AND run_id IS NOT NULL""",
    )
    runs = world.instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
    backfills = world.instance.get_backfills(
        filters=BulkActionsFilter(
            statuses=[s for s in BulkActionStatus if s not in BULK_ACTION_TERMINAL_STATUSES]
        )
    )
    return [
        *(row["said"] for row in found),
        *(f"run {run.run_id} is {run.status.value} in Dagster" for run in runs),
        *(f"backfill {one.backfill_id} is {one.status.value} in Dagster" for one in backfills),
    ]


def key_of(run: dg.DagsterRun) -> str:
    tags = run.tags
    return (
        tags.get("sync_pipeline/batch_key")
        or tags.get("dagster/backfill")
        or run.root_run_id
        or run.run_id
    )
