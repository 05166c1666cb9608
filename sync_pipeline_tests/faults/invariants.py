"""The invariants that must hold once all workers have ended and the reconciler has run.

Each function checks one invariant and yields a sentence for each violation. Records and attempts
are compared with each other and with Dagster. For the rows in the target, see `row_invariants`; for
how the facts are read, see `facts`.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta

import dagster as dg

from sync_pipeline.dagster_client.tags import SCHEDULE_TAG
from sync_pipeline_tests.faults.facts import Facts, Row, gather, key_of
from sync_pipeline_tests.faults.round import Round
from sync_pipeline_tests.faults.row_invariants import ROW_INVARIANTS
from sync_pipeline_tests.faults.tables import TABLES
from sync_pipeline_tests.faults.world import (
    PASSWORD,
    World,
)

_FINISHED = re.compile(
    r"批量同步完成: (\S+)至(\S+), 共(\d+)天, 成功(\d+), 失败(\d+), 跳过(\d+), 耗时(\d+)分(\d+)秒"
)

# Tolerance: some timestamps are computed from durations, and statements take time to arrive.
_SLACK = timedelta(seconds=1)


def violations(played: Round) -> list[str]:
    """Return all violations, as sentences."""
    facts = gather(played)
    return [
        f"{invariant.__name__}: {said}" for invariant in INVARIANTS for said in invariant(facts)
    ]


def one_record_for_every_batch(facts: Facts) -> Iterator[str]:
    """Each batch that started has exactly one record, and that record has the right dataset.

    Runs for single days have no batch record.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for batch in facts.batches:
        found[batch["batch_key"]].append(batch["dataset"])
    for key, datasets in found.items():
        if key in facts.launched_keys and datasets != [facts.launched_keys[key]]:
            yield f"batch {key} has records in {datasets}"
        if key not in facts.launched_keys and not key.startswith("before-"):
            yield f"batch {key} has a record in {datasets}, but was not launched"
    for attempt in facts.attempts:
        if attempt["run_id"] in facts.single_runs and attempt["batch_id"] is not None:
            yield f"attempt {attempt['id']} of a run for a single day belongs to a batch"
    for run in facts.runs:
        key = key_of(run)
        if key in facts.launched_keys and key not in found and _has_started(facts.world, run):
            yield f"batch {key} has no record, but run {run.run_id} has started it"


def _has_started(world: World, run: dg.DagsterRun) -> bool:
    kinds = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.ASSET_MATERIALIZATION}
    return bool(world.instance.get_records_for_run(run.run_id, of_type=kinds).records)


def batches_match_their_days(facts: Facts) -> Iterator[str]:
    """The counts, rows and status of a closed batch match its days.

    The batch contains each requested day once, and it failed if and only if any of them failed.
    """
    for batch in facts.batches:
        current = facts.current_attempts(batch)
        states = [attempt["state"] for attempt in current]
        said = (batch["success_count"], batch["failed_count"], batch["skipped_count"])
        counted = tuple(states.count(state) for state in ("success", "failed", "skipped"))
        rows = sum(a["rows_read"] for a in current if a["state"] == "success")
        name = f"batch {batch['batch_key']} ({batch['status']})"
        if said != counted:
            yield f"{name} has the counts {said}, but its days have {counted}"
        if sum(said) != batch["total_days"] or batch["total_days"] != len(current):
            total = batch["total_days"]
            yield f"{name} has {total} days, but counts {said} and {len(current)} attempts"
        if batch["total_records"] != rows:
            yield f"{name} counts {batch['total_records']} rows, but its days have {rows}"
        if (batch["status"] == "failed") != (counted[1] > 0):
            yield f"{name} has {counted[1]} failed days"


def remarks_match_the_counts(facts: Facts) -> Iterator[str]:
    """A closed batch's remarks follow the contract and contain the numbers from its record."""
    for batch in facts.batches:
        found = _FINISHED.fullmatch(batch["remarks"] or "")
        if found is None:
            if batch["status"] != "failed" or not batch["remarks"].startswith("批量同步失败: "):
                name = f"batch {batch['batch_key']} ({batch['status']})"
                yield f"{name} has the remarks {batch['remarks']!r}"
            continue
        seconds = int(found[7]) * 60 + int(found[8])
        said = (found[1], found[2], *map(int, found.groups()[2:6]), seconds)
        names = ("total_days", "success_count", "failed_count", "skipped_count", "duration_seconds")
        true = (str(batch["start_date"]), str(batch["end_date"]), *(batch[name] for name in names))
        if said != true:
            yield f"batch {batch['batch_key']} is {true}, but its remarks say {said}"


def closed_records_are_complete(facts: Facts) -> Iterator[str]:
    """Each record is closed and has an end time and a duration.

    It has an error message if and only if its status is failed.
    """
    for record in [*facts.batches, *facts.days]:
        name = f"{record['kind']} record {record['id']} ({record['status']})"
        if record["status"] == "syncing":
            yield f"{name}, but no worker is running"
        elif record["end_time"] is None or record["duration_seconds"] is None:
            yield f"{name} has no end time or no duration"
        if (record["status"] == "failed") != bool(record["error_message"]):
            yield f"{name} has the error message {record['error_message']!r}"
    for attempt in facts.attempts:
        if attempt["state"] in ("pending", "syncing"):
            yield f"attempt {attempt['id']} is {attempt['state']}, but no worker is running"


def day_records_match_their_latest_attempts(facts: Facts) -> Iterator[str]:
    """A day's record has the status and the number of the day's attempt that ended last.

    A late outcome can have a higher number, but end earlier. A success replaces its own run's
    failure, whose end time can be slightly later. An attempt that was refused because the day
    has rows does not change the record of a synced day.
    """
    begun: dict[tuple[str, date], list[Row]] = defaultdict(list)
    for attempt in facts.attempts:
        if attempt["attempt"] is not None:
            begun[attempt["dataset"], attempt["sync_date"]].append(attempt)
    for record in facts.days:
        name = f"day {record['dataset']} {record['sync_date']} ({record['status']})"
        latest = facts.latest_attempt(record)
        if latest is None or latest["state"] != record["status"]:
            yield f"{name}: attempt {record['attempt']} is {latest and latest['state']}"
            continue
        for other in begun[record["dataset"], record["sync_date"]]:
            if other["ended_at"] is None or latest["ended_at"] is None:
                is_later = other["attempt"] > latest["attempt"]
            else:
                is_later = other["ended_at"] > latest["ended_at"]
            counts = not (other["refused"] and record["status"] == "success")
            if is_later and counts and other["run_id"] != latest["run_id"]:
                yield f"{name} has attempt {record['attempt']}, but {other['attempt']} is later"


def a_successful_batch_has_all_its_days(facts: Facts) -> Iterator[str]:
    """Each day of a successful batch has been synced, by that batch or by another one."""
    recorded_days = {(r["dataset"], r["sync_date"]) for r in facts.days}
    for batch in facts.batches:
        for attempt in facts.current_attempts(batch):
            day = (attempt["dataset"], attempt["sync_date"])
            if batch["status"] == "success" and day not in recorded_days:
                yield f"batch {batch['batch_key']} succeeded, but {day} has no record"


def a_batch_starts_before_and_ends_after_its_days(facts: Facts) -> Iterator[str]:
    """A closed batch starts before its first day starts, and ends after its last day ends."""
    for batch in facts.batches:
        begun = [a for a in facts.attempts if a["batch_id"] == batch["id"] and a["started_at"]]
        if not begun or batch["end_time"] is None:
            continue
        first = min(attempt["started_at"] for attempt in begun)
        last = max(attempt["ended_at"] or attempt["started_at"] for attempt in begun)
        if batch["start_time"] > first + _SLACK or batch["end_time"] < last - _SLACK:
            yield (
                f"batch {batch['batch_key']} lasted from {batch['start_time']} to "
                f"{batch['end_time']}, but its days lasted from {first} to {last}"
            )


def no_day_ends_after_its_commit(facts: Facts) -> Iterator[str]:
    """A synced day's record does not end after its rows were committed.

    Results are compared by the times at which they ended, so a late end hides a newer result. For
    tables that replace days, because every sync writes all rows again.
    """
    for record in facts.days:
        committed = facts.commit_times.get((record["dataset"], record["sync_date"]))
        replaced = TABLES[record["dataset"]].replaces
        if record["status"] != "success" or not replaced or committed is None:
            continue
        if record["end_time"] > committed + _SLACK:
            yield (
                f"day {record['dataset']} {record['sync_date']} ended at {record['end_time']}, "
                f"but was committed at {committed}"
            )


def no_two_workers_load_a_day_at_once(facts: Facts) -> Iterator[str]:
    """Each successful attempt for a day starts after the previous one has ended.

    Attempt numbers may be out of chronological order, because a late outcome gets the next number.
    """
    by_day: dict[tuple[str, date], list[Row]] = defaultdict(list)
    for attempt in facts.attempts:
        if attempt["state"] == "success":
            by_day[attempt["dataset"], attempt["sync_date"]].append(attempt)
    for day, successes in by_day.items():
        ordered = sorted(successes, key=lambda attempt: attempt["started_at"])
        for earlier, later in itertools.pairwise(ordered):
            if later["started_at"] < earlier["ended_at"]:
                yield (
                    f"day {day}: attempt {later['attempt']} started at {later['started_at']}, "
                    f"attempt {earlier['attempt']} ended at {earlier['ended_at']}"
                )


def every_synced_day_is_materialized(facts: Facts) -> Iterator[str]:
    """Each day that a run synced has a Dagster materialization from that attempt or a later one.

    If the attempt had no number because the tracking tables were unavailable, the runs must match.
    """
    for record in facts.days:
        if record["status"] != "success" or record["run_id"] is None:
            continue
        if record["dataset"] not in facts.datasets:  # not read
            continue
        day = (record["dataset"], record["sync_date"])
        known = facts.reported.attempts.get(day, 0)
        if known < record["attempt"] and (*day, record["run_id"]) not in facts.reported.unnumbered:
            yield (
                f"day {day[0]} {day[1]} was synced by attempt {record['attempt']}, but Dagster has "
                f"attempt {known}"
            )


def dagster_and_the_record_agree(facts: Facts) -> Iterator[str]:
    """If a batch's latest run succeeded in Dagster, the batch's record shows success.

    If a run for a single day succeeded, it has a successful attempt.
    """
    synced = {a["run_id"] for a in facts.attempts if a["state"] == "success"}
    for run in facts.runs:
        single = run.run_id in facts.single_runs
        if single and run.status is dg.DagsterRunStatus.SUCCESS and run.run_id not in synced:
            yield f"run {run.run_id} for a single day succeeded, but has no successful attempt"
    records = {batch["batch_key"]: batch["status"] for batch in facts.batches}
    latest: dict[str, dg.DagsterRun] = {}
    for run in facts.runs:  # newest first
        latest.setdefault(key_of(run), run)
    for key, run in latest.items():
        succeeded = run.status is dg.DagsterRunStatus.SUCCESS and key in facts.launched_keys
        if succeeded and records.get(key) != "success":
            yield f"run {run.run_id} of {key} succeeded, but its record is {records.get(key)}"


def days_of_a_schedule_name_it(facts: Facts) -> Iterator[str]:
    """Each attempt of a nightly run or of its retries was triggered by the schedule."""
    names = {run.run_id: run.tags.get(SCHEDULE_TAG) for run in facts.runs}
    for attempt in facts.attempts:
        name = names.get(attempt["run_id"])
        begun = name is not None and attempt["started_at"] is not None
        if begun and attempt["triggered_by"] != f"schedule {name}":
            yield f"attempt {attempt['id']} of {name} was triggered by {attempt['triggered_by']}"


def no_password_is_exposed(facts: Facts) -> Iterator[str]:
    """The password appears in no record, attempt, worker, correction, run, event or log."""
    tables = ("daily_sync_status", "sync_attempt", "sync_worker", "sync_correction")
    places = [("tracking", table) for table in tables]
    schema = "dagster." if facts.world.layout.home_of("dagster") == "target" else ""
    places += [("dagster", f"{schema}{table}") for table in ("event_logs", "runs", "run_tags")]
    for role, table in places:
        found = f"SELECT count(*) AS n FROM {table} t WHERE t::text LIKE %s"
        (row,) = facts.world.query(role, found, [f"%{PASSWORD}%"])
        if row["n"]:
            yield f"the password is in {row['n']} rows of {table}"
    for log in facts.folder.glob("*.log"):
        if PASSWORD in log.read_text(errors="replace"):
            yield f"the password is in {log.name}"


INVARIANTS: Sequence[Callable[[Facts], Iterator[str]]] = (
    one_record_for_every_batch,
    batches_match_their_days,
    remarks_match_the_counts,
    closed_records_are_complete,
    day_records_match_their_latest_attempts,
    *ROW_INVARIANTS,
    a_successful_batch_has_all_its_days,
    a_batch_starts_before_and_ends_after_its_days,
    no_day_ends_after_its_commit,
    no_two_workers_load_a_day_at_once,
    every_synced_day_is_materialized,
    dagster_and_the_record_agree,
    days_of_a_schedule_name_it,
    no_password_is_exposed,
)
