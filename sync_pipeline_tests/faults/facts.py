"""Read what the databases and Dagster contain after a round, for `invariants` to compare."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
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
from sync_pipeline_tests.faults.tables import DATASETS, SHARED_ID, TABLES
from sync_pipeline_tests.faults.world import World

Row = dict[str, Any]
Contents = dict[tuple[str, date], list[tuple[int, int]]]
"""A target's rows by dataset and day, as sorted pairs of ID and amount."""
SharedRows = dict[tuple[str, int], list[tuple[date, int]]]
"""The rows with a shared key, by dataset and key, as pairs of day and amount."""
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


def contents(world: World) -> tuple[Contents, SharedRows]:
    """Return the target's rows, and the rows that share a key with rows of other days."""
    rows, shared = defaultdict(list), defaultdict(list)
    selected = (
        f"SELECT '{name}' AS dataset, day, id, amount, key FROM {name}" for name in DATASETS
    )
    query = " UNION ALL ".join(selected) + " ORDER BY dataset, day, id, amount"
    for row in world.query("target", query):
        if TABLES[row["dataset"]].key and row["id"] == SHARED_ID:
            shared[row["dataset"], row["key"]].append((row["day"], row["amount"]))
        else:
            rows[row["dataset"], row["day"]].append((row["id"], row["amount"]))
    return rows, shared


def commit_times(world: World) -> dict[tuple[str, date], datetime]:
    """Return when the latest rows of each day were committed, by dataset and day."""
    selected = (
        f"SELECT '{name}' AS dataset, day, max(pg_xact_commit_timestamp(xmin)) AS at FROM {name}"
        f" WHERE id <> {SHARED_ID} GROUP BY day"
        for name in DATASETS
    )
    rows = world.query("target", " UNION ALL ".join(selected))
    return {(row["dataset"], row["day"]): row["at"] for row in rows}


def partitions(world: World) -> list[Row]:
    """Return all tables whose name is that of a partitioned table's partition, attached or not."""
    return world.query(
        "target",
        """SELECT parent.relname::text AS dataset, part.relname::text AS name,
                  coalesce(inhparent = parent.oid AND NOT inhdetachpending, false) AS attached,
                  EXISTS (SELECT FROM pg_constraint WHERE conrelid = part.oid
                          AND conname = 'sync_pipeline_bounds') AS has_check,
                  pg_get_expr(part.relpartbound, part.oid) AS bounds
             FROM pg_class parent
             JOIN pg_class part ON part.relkind = 'r' AND part.relname LIKE parent.relname || '%%'
             LEFT JOIN pg_inherits ON inhrelid = part.oid
             WHERE parent.relkind = 'p' AND parent.relname = ANY(%s) ORDER BY name""",
        [list(DATASETS)],
    )


def holders_of_slots(world: World) -> list[str]:
    """Return the IDs of the runs that hold a source slot."""
    found = world.query(
        "target",
        """SELECT DISTINCT substring(application_name FROM 'slot run (.*)') AS run_id
             FROM pg_stat_activity JOIN pg_locks USING (pid)
             WHERE locktype = 'advisory' AND granted AND datname = current_database()
               AND application_name LIKE 'sync_pipeline: slot run %'""",
    )
    return [row["run_id"] for row in found]


def has_lost_workers(world: World) -> bool:
    """Return whether a run was ended because its worker was lost."""
    return bool(world.query("tracking", "SELECT FROM sync_correction WHERE run_id IS NOT NULL"))


def readers(world: World, dataset: str) -> int:
    """Return how many sessions are reading the dataset's source."""
    (row,) = world.query(
        "source",
        """SELECT count(*) AS n FROM pg_stat_activity
             WHERE application_name = %s AND state = 'active' AND datname = current_database()""",
        [f"sync_pipeline: read {dataset}"],
    )
    return int(row["n"])


@dataclass
class Reported:
    """Dagster's materializations: the highest attempt number for each day.

    If the tracking tables were unavailable, a materialization has no attempt number; its dataset,
    day and run are in `unnumbered` instead.
    """

    attempts: dict[tuple[str, date], int] = field(default_factory=dict)
    unnumbered: set[tuple[str, date, str]] = field(default_factory=set)


def reported(world: World, datasets: Iterable[str]) -> Reported:
    found = Reported()
    for dataset in datasets:
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
    single_runs: set[str]  # the IDs of runs that do not belong to a batch
    folder: Path
    batches: list[Row]
    days: list[Row]
    attempts: list[Row]
    contents: Contents
    shared: SharedRows
    commit_times: dict[tuple[str, date], datetime]
    partitions: list[Row]
    datasets: set[str]  # that the round synced
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
    datasets = {work.dataset for work in played.plan.works}
    rows, shared = contents(world)
    return Facts(
        world=world,
        launched_keys=played.batch_keys(),
        single_runs={run_id for one in played.launched for run_id in one.single_runs},
        folder=played.folder,
        batches=batch_records(world),
        days=day_records(world),
        attempts=attempts(world),
        contents=rows,
        shared=shared,
        commit_times=commit_times(world),
        partitions=partitions(world),
        datasets=datasets,
        reported=reported(world, datasets),
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
        *(f"run {run_id} holds a source slot" for run_id in holders_of_slots(world)),
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
