"""The invariants that must hold once all workers have ended and the reconciler has run.

Each function checks one invariant and yields a sentence for each violation. Records and attempts
are compared with the target's rows, with the rows expected for the source's generation, and with
Dagster. For how the facts are read, see `facts`.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from sync_pipeline.dagster_client.tags import SCHEDULE_TAG
from sync_pipeline_tests.faults.facts import Facts, Row, gather, key_of
from sync_pipeline_tests.faults.round import Round
from sync_pipeline_tests.faults.tables import DATASETS, DAYS_SHARING, SHARED_ID, TABLES
from sync_pipeline_tests.faults.world import (
    DAYS,
    DAYS_SYNCED,
    PASSWORD,
    World,
    day_number,
    expected,
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
    """A day's record has the status and the number of that day's latest attempt."""
    highest: dict[tuple[str, date], int] = defaultdict(int)
    for attempt in facts.attempts:
        key = (attempt["dataset"], attempt["sync_date"])
        highest[key] = max(highest[key], attempt["attempt"] or 0)
    for record in facts.days:
        name = f"day {record['dataset']} {record['sync_date']} ({record['status']})"
        latest = facts.latest_attempt(record)
        if latest is None or latest["state"] != record["status"]:
            yield f"{name}: attempt {record['attempt']} is {latest and latest['state']}"
        if record["attempt"] != highest[record["dataset"], record["sync_date"]]:
            yield f"{name} has attempt {record['attempt']}, but there is a later one"


def a_synced_day_holds_exactly_its_source_rows(facts: Facts) -> Iterator[str]:
    """A synced day has the rows that the source had at the time of the attempt.

    For tables that replace days; for the others, see `kept_rows_are_those_of_all_syncs`.
    """
    for record in facts.days:
        latest = facts.latest_attempt(record)
        if record["status"] != "success" or latest is None:
            continue
        generation = facts.world.generation_of(latest["id"])
        day = (record["dataset"], record["sync_date"])
        replaced = TABLES[day[0]].replaces
        if replaced and facts.contents.get(day, []) != expected(record["sync_date"], generation):
            yield (
                f"day {day[0]} {day[1]} was synced by attempt {latest['attempt']} (generation "
                f"{generation}) but has {_describe(facts.contents.get(day, []))}"
            )


def no_day_mixes_generations(facts: Facts) -> Iterator[str]:
    """Each day has all rows of exactly one generation, once each, or no rows if never synced.

    For tables that replace days.
    """
    for dataset in (name for name in DATASETS if TABLES[name].replaces):
        for day in map(day_number, range(DAYS)):
            held = facts.contents.get((dataset, day), [])
            whole = [expected(day, number) for _, number in facts.world.generations]
            if held not in whole and not (held == [] and day >= day_number(DAYS_SYNCED)):
                yield f"day {dataset} {day} has {_describe(held)}"


def kept_rows_are_those_of_all_syncs(facts: Facts) -> Iterator[str]:
    """A table that keeps its rows has each row of each successful sync exactly once.

    With `upsert`, a row has its values from the latest sync that read it; with `append_only`, from
    the first. Without a key, only one sync of a day wrote rows. No other day's rows have changed.
    """
    synced = _synced_generations(facts)
    for dataset in (name for name in DATASETS if not TABLES[name].replaces):
        for day in map(day_number, range(DAYS)):
            held = facts.contents.get((dataset, day), [])
            whole = _kept(dataset, day, sorted(synced[dataset, day]))
            if held != whole:
                yield (
                    f"day {dataset} {day} was synced in generations {sorted(synced[dataset, day])} "
                    f"but has {_describe(held)}"
                )


def _synced_generations(facts: Facts) -> dict[tuple[str, date], set[int]]:
    found: dict[tuple[str, date], set[int]] = defaultdict(set)
    for attempt in facts.attempts:
        if attempt["state"] == "success":
            day = (attempt["dataset"], attempt["sync_date"])
            found[day].add(facts.world.generation_of(attempt["id"]))
    return found


def _kept(dataset: str, day: date, generations: Sequence[int]) -> list[tuple[int, int]]:
    """Return the rows of a day that were kept after syncs in these generations, in order."""
    table, kept = TABLES[dataset], dict[int, int]()
    for generation in generations:
        rows = dict(expected(day, generation))
        if table.key:
            rows.pop(SHARED_ID, None)  # see shared_keys_are_kept_once
            kept = rows | kept if table.write == "append_only" else kept | rows
        else:
            kept = kept or rows
    return sorted(kept.items())


def shared_keys_are_kept_once(facts: Facts) -> Iterator[str]:
    """A key that rows of several days share is in the table exactly once, as in one of its syncs.

    With `upsert`, that is the last of these syncs; with `append_only`, the first.
    """
    for dataset in (name for name in DATASETS if TABLES[name].key):
        writes: dict[int, list[tuple[datetime, tuple[date, int]]]] = defaultdict(list)
        for attempt in facts.attempts:
            if attempt["dataset"] == dataset and attempt["state"] == "success":
                day = attempt["sync_date"]
                amount = dict(expected(day, facts.world.generation_of(attempt["id"]))).get(
                    SHARED_ID
                )
                if amount is not None:
                    key = -1 - (day - day_number(0)).days // DAYS_SHARING
                    writes[key].append((attempt["ended_at"], (day, amount)))
        for key in writes.keys() | {key for name, key in facts.shared if name == dataset}:
            held = facts.shared.get((dataset, key), [])
            allowed = _allowed(writes[key], first=TABLES[dataset].write == "append_only")
            if len(held) != 1 or held[0] not in allowed:
                yield f"key {key} of {dataset} has the rows {held}, expected is one of {allowed}"


def _allowed(
    writes: list[tuple[datetime, tuple[date, int]]], *, first: bool
) -> list[tuple[date, int]]:
    """Return the rows that were written first or last; there are several if they were written at
    almost the same time."""
    if not writes:
        return []
    times = [at for at, _ in writes]
    if first:
        return [row for at, row in writes if at <= min(times) + _SLACK]
    return [row for at, row in writes if at >= max(times) - _SLACK]


def a_partition_holds_exactly_its_day(facts: Facts) -> Iterator[str]:
    """A partitioned table has an attached partition for each day that ever had rows, and no other.

    No table that was prepared for a partition is left over.
    """
    synced = _synced_generations(facts)
    for dataset in (name for name in DATASETS if TABLES[name].partitioned):
        found = {row["name"]: row for row in facts.partitions if row["dataset"] == dataset}
        needed = {
            f"{dataset}_{day:%Y_%m_%d}": f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(1)}')"
            for (name, day), generations in synced.items()
            if name == dataset and any(expected(day, generation) for generation in generations)
        }
        for name in found.keys() | needed.keys():
            row = found.get(name)
            if row is None or name not in needed:
                yield f"partition {name}: {'left over' if row else 'missing'}"
            elif not row["attached"] or row["has_check"] or row["bounds"] != needed[name]:
                yield f"partition {name}: {row}"


def a_success_counts_the_rows_of_its_day(facts: Facts) -> Iterator[str]:
    """Each successful attempt has read and loaded as many rows as the source had for the day."""
    for attempt in facts.attempts:
        if attempt["state"] == "success":
            rows = len(expected(attempt["sync_date"], facts.world.generation_of(attempt["id"])))
            if (attempt["rows_read"], attempt["rows_loaded"]) != (rows, rows):
                yield (
                    f"attempt {attempt['id']} read {attempt['rows_read']} rows and loaded "
                    f"{attempt['rows_loaded']}, but its day has {rows}"
                )


def committed_rows_are_recorded(facts: Facts) -> Iterator[str]:
    """Each day's rows are from a recorded success: a commit is recorded even if its worker dies."""
    recorded: dict[tuple[str, date], int] = defaultdict(int)
    for attempt in facts.attempts:
        if attempt["state"] == "success":
            day = (attempt["dataset"], attempt["sync_date"])
            recorded[day] = max(recorded[day], facts.world.generation_of(attempt["id"]))
    for day, rows in facts.contents.items():
        generation = max(amount // 1000 for _, amount in rows)
        if generation > recorded[day]:
            yield f"day {day[0]} {day[1]} has {_describe(rows)} without a recorded success"


def _describe(rows: Sequence[tuple[int, int]]) -> str:
    by_generation: dict[int, int] = defaultdict(int)
    for _, amount in rows:
        by_generation[amount // 1000] += 1
    return f"{len(rows)} rows, by generation: {dict(by_generation)}"


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
    a_synced_day_holds_exactly_its_source_rows,
    no_day_mixes_generations,
    kept_rows_are_those_of_all_syncs,
    shared_keys_are_kept_once,
    a_partition_holds_exactly_its_day,
    a_success_counts_the_rows_of_its_day,
    committed_rows_are_recorded,
    a_successful_batch_has_all_its_days,
    a_batch_starts_before_and_ends_after_its_days,
    no_day_ends_after_its_commit,
    no_two_workers_load_a_day_at_once,
    every_synced_day_is_materialized,
    dagster_and_the_record_agree,
    days_of_a_schedule_name_it,
    no_password_is_exposed,
)
