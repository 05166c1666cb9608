"""What must hold once nobody works and the reconciler has looked: each rule is one function.

They compare records and attempts with what the target holds, what the source's generations say a
day must hold, and what Dagster knows. Each yields a sentence for every breach.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta

import dagster as dg

from sync_pipeline_tests.faults.facts import Facts, Row, gather, key_of
from sync_pipeline_tests.faults.round import Round
from sync_pipeline_tests.faults.world import (
    DATASETS,
    DAYS,
    DAYS_IN,
    PASSWORD,
    World,
    day_number,
    expected,
)

_FINISHED = re.compile(
    r"批量同步完成: (\S+)至(\S+), 共(\d+)天, 成功(\d+), 失败(\d+), 跳过(\d+), 耗时(\d+)分(\d+)秒"
)

# What is written late is dated back from then, and a statement takes a moment to arrive.
_SLACK = timedelta(seconds=1)


def broken(played: Round) -> list[str]:
    """Return every breach of every rule, as sentences; none if all is well."""
    facts = gather(played)
    return [f"{rule.__name__}: {said}" for rule in RULES for said in rule(facts)]


def one_record_for_every_batch(facts: Facts) -> Iterator[str]:
    """Every batch that began has exactly one record, in its dataset."""
    found: dict[str, list[str]] = defaultdict(list)
    for batch in facts.batches:
        found[batch["batch_key"]].append(batch["dataset"])
    for key, datasets in found.items():
        if key in facts.launched_keys and datasets != [facts.launched_keys[key]]:
            yield f"batch {key} has records in {datasets}"
    for run in facts.runs:
        key = key_of(run)
        if key in facts.launched_keys and key not in found and _has_begun(facts.world, run):
            yield f"batch {key} has no record, and run {run.run_id} has begun it"


def _has_begun(world: World, run: dg.DagsterRun) -> bool:
    kinds = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.ASSET_MATERIALIZATION}
    return bool(world.instance.get_records_for_run(run.run_id, of_type=kinds).records)


def a_batch_says_what_its_days_say(facts: Facts) -> Iterator[str]:
    """A closed batch's counts, rows and status are those of its days, one of each, and its days
    are all of the request; it failed exactly if a day did."""
    for batch in facts.batches:
        standing = facts.standing(batch)
        states = [attempt["state"] for attempt in standing]
        said = (batch["success_count"], batch["failed_count"], batch["skipped_count"])
        counted = tuple(states.count(state) for state in ("success", "failed", "skipped"))
        rows = sum(a["rows_read"] for a in standing if a["state"] == "success")
        name = f"batch {batch['batch_key']} ({batch['status']})"
        if said != counted:
            yield f"{name} counts {said}, its days are {counted}"
        if sum(said) != batch["total_days"] or batch["total_days"] != len(standing):
            yield f"{name} has {batch['total_days']} days, counts {said}, {len(standing)} attempts"
        if batch["total_records"] != rows:
            yield f"{name} counts {batch['total_records']} rows, its days {rows}"
        if (batch["status"] == "failed") != (counted[1] > 0):
            yield f"{name} with {counted[1]} failed days"


def remarks_say_the_counts(facts: Facts) -> Iterator[str]:
    """The remarks of a closed batch are the contract's sentence with the record's numbers."""
    for batch in facts.batches:
        found = _FINISHED.fullmatch(batch["remarks"] or "")
        if found is None:
            if batch["status"] != "failed" or not batch["remarks"].startswith("批量同步失败: "):
                yield f"batch {batch['batch_key']} ({batch['status']}) says {batch['remarks']!r}"
            continue
        seconds = int(found[7]) * 60 + int(found[8])
        said = (found[1], found[2], *map(int, found.groups()[2:6]), seconds)
        names = ("total_days", "success_count", "failed_count", "skipped_count", "duration_seconds")
        true = (str(batch["start_date"]), str(batch["end_date"]), *(batch[name] for name in names))
        if said != true:
            yield f"batch {batch['batch_key']} is {true}, its remarks say {said}"


def closed_records_are_whole(facts: Facts) -> Iterator[str]:
    """Nothing is syncing; an error stands exactly where something failed, an end and a duration
    everywhere."""
    for record in [*facts.batches, *facts.days]:
        name = f"{record['kind']} record {record['id']} ({record['status']})"
        if record["status"] == "syncing":
            yield f"{name} although nobody works"
        elif record["end_time"] is None or record["duration_seconds"] is None:
            yield f"{name} has no end or no duration"
        if (record["status"] == "failed") != bool(record["error_message"]):
            yield f"{name} has the error {record['error_message']!r}"
    for attempt in facts.attempts:
        if attempt["state"] in ("pending", "syncing"):
            yield f"attempt {attempt['id']} is {attempt['state']} although nobody works"


def a_day_record_is_its_latest_attempt(facts: Facts) -> Iterator[str]:
    """A day's record says what the latest attempt at the day says; none is numbered higher."""
    highest: dict[tuple[str, date], int] = defaultdict(int)
    for attempt in facts.attempts:
        key = (attempt["dataset"], attempt["sync_date"])
        highest[key] = max(highest[key], attempt["attempt"] or 0)
    for record in facts.days:
        name = f"day {record['dataset']} {record['sync_date']} ({record['status']})"
        latest = facts.latest(record)
        if latest is None or latest["state"] != record["status"]:
            yield f"{name}: attempt {record['attempt']} is {latest and latest['state']}"
        if record["attempt"] != highest[record["dataset"], record["sync_date"]]:
            yield f"{name} numbers attempt {record['attempt']}, and there is a later one"


def a_synced_day_holds_exactly_its_source_rows(facts: Facts) -> Iterator[str]:
    """A day that is `success` holds the rows that the source had when the attempt was made."""
    for record in facts.days:
        latest = facts.latest(record)
        if record["status"] != "success" or latest is None:
            continue
        generation = facts.world.generation_of(latest["id"])
        day = (record["dataset"], record["sync_date"])
        if facts.contents.get(day, []) != expected(record["sync_date"], generation):
            yield (
                f"day {day[0]} {day[1]} is success by attempt {latest['attempt']} (generation "
                f"{generation}) and holds {_described(facts.contents.get(day, []))}"
            )


def no_day_holds_a_mixture(facts: Facts) -> Iterator[str]:
    """Every day holds the rows of one generation, whole and once, or none if it never came in."""
    for dataset in DATASETS:
        for day in map(day_number, range(DAYS)):
            held = facts.contents.get((dataset, day), [])
            whole = [expected(day, number) for _, number in facts.world.generations]
            if held not in whole and not (held == [] and day >= day_number(DAYS_IN)):
                yield f"day {dataset} {day} holds {_described(held)}"


def rows_that_are_in_are_recorded(facts: Facts) -> Iterator[str]:
    """Whatever rows a day holds, a success brought them: no worker's end hides a commit."""
    brought: dict[tuple[str, date], int] = defaultdict(int)
    for attempt in facts.attempts:
        if attempt["state"] == "success":
            day = (attempt["dataset"], attempt["sync_date"])
            brought[day] = max(brought[day], facts.world.generation_of(attempt["id"]))
    for day, rows in facts.contents.items():
        generation = max(amount // 1000 for _, amount in rows)
        if generation > brought[day]:
            yield f"day {day[0]} {day[1]} holds {_described(rows)}, which no success brought"


def _described(rows: Sequence[tuple[int, int]]) -> str:
    by_generation: dict[int, int] = defaultdict(int)
    for _, amount in rows:
        by_generation[amount // 1000] += 1
    return f"{len(rows)} rows, of generation {dict(by_generation)}"


def a_successful_batch_left_no_day_out(facts: Facts) -> Iterator[str]:
    """Every day of a batch that is `success` is in, whoever brought it."""
    in_already = {(r["dataset"], r["sync_date"]) for r in facts.days}
    for batch in facts.batches:
        for attempt in facts.standing(batch):
            day = (attempt["dataset"], attempt["sync_date"])
            if batch["status"] == "success" and day not in in_already:
                yield f"batch {batch['batch_key']} is success, and {day} has no record"


def a_batch_lasts_as_long_as_its_days(facts: Facts) -> Iterator[str]:
    """A closed batch began before the first of its days that began, and ended after the last."""
    for batch in facts.batches:
        begun = [a for a in facts.attempts if a["batch_id"] == batch["id"] and a["started_at"]]
        if not begun or batch["end_time"] is None:
            continue
        first = min(attempt["started_at"] for attempt in begun)
        last = max(attempt["ended_at"] or attempt["started_at"] for attempt in begun)
        if batch["start_time"] > first + _SLACK or batch["end_time"] < last - _SLACK:
            yield (
                f"batch {batch['batch_key']} lasted from {batch['start_time']} to "
                f"{batch['end_time']}, its days from {first} to {last}"
            )


def never_two_loaders_of_a_day(facts: Facts) -> Iterator[str]:
    """The successes of a day follow each other: none began before the one before it had ended.

    Their numbers need not: one that is told of late gets the next.
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
                    f"day {day}: attempt {later['attempt']} began at {later['started_at']}, "
                    f"attempt {earlier['attempt']} ended at {earlier['ended_at']}"
                )


def dagster_knows_every_synced_day(facts: Facts) -> Iterator[str]:
    """Every day that is `success` by a run is materialized, by that attempt or a later one; or by
    its run, if no number was known because the records were away."""
    for record in facts.days:
        if record["status"] != "success" or record["run_id"] is None:
            continue
        day = (record["dataset"], record["sync_date"])
        known = facts.told.attempts.get(day, 0)
        if known < record["attempt"] and (*day, record["run_id"]) not in facts.told.unnumbered:
            yield (
                f"day {day[0]} {day[1]} is success by attempt {record['attempt']}, Dagster knows "
                f"of attempt {known}"
            )


def dagster_and_the_record_agree(facts: Facts) -> Iterator[str]:
    """A batch whose latest run is a success in Dagster is a success in the record."""
    records = {batch["batch_key"]: batch["status"] for batch in facts.batches}
    latest: dict[str, dg.DagsterRun] = {}
    for run in facts.runs:  # newest first
        latest.setdefault(key_of(run), run)
    for key, run in latest.items():
        succeeded = run.status is dg.DagsterRunStatus.SUCCESS and key in facts.launched_keys
        if succeeded and records.get(key) != "success":
            yield f"run {run.run_id} of batch {key} is a success, its record {records.get(key)}"


def no_password_anywhere(facts: Facts) -> Iterator[str]:
    """The password stands in no record, attempt, correction, run, event or log."""
    tables = ("daily_sync_status", "sync_attempt", "sync_worker", "sync_correction")
    places = [("tracking", table) for table in tables]
    schema = "dagster." if facts.world.layout.home_of("dagster") == "target" else ""
    places += [("dagster", f"{schema}{table}") for table in ("event_logs", "runs", "run_tags")]
    for role, table in places:
        found = f"SELECT count(*) AS n FROM {table} t WHERE t::text LIKE %s"
        (row,) = facts.world.query(role, found, [f"%{PASSWORD}%"])
        if row["n"]:
            yield f"the password stands in {row['n']} rows of {table}"
    for log in facts.folder.glob("*.log"):
        if PASSWORD in log.read_text(errors="replace"):
            yield f"the password stands in {log.name}"


RULES: Sequence[Callable[[Facts], Iterator[str]]] = (
    one_record_for_every_batch,
    a_batch_says_what_its_days_say,
    remarks_say_the_counts,
    closed_records_are_whole,
    a_day_record_is_its_latest_attempt,
    a_synced_day_holds_exactly_its_source_rows,
    no_day_holds_a_mixture,
    rows_that_are_in_are_recorded,
    a_successful_batch_left_no_day_out,
    a_batch_lasts_as_long_as_its_days,
    never_two_loaders_of_a_day,
    dagster_knows_every_synced_day,
    dagster_and_the_record_agree,
    no_password_anywhere,
)
