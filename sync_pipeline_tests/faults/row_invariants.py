"""The invariants about the rows in the target: each day has exactly the rows that it should have.

What is right depends on how the table is written: see `tables`. For the invariants about records,
see `invariants`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

from sync_pipeline_tests.faults.facts import Facts, Row
from sync_pipeline_tests.faults.tables import DATASETS, DAYS_SHARING, SHARED_ID, TABLES
from sync_pipeline_tests.faults.world import DAYS, DAYS_SYNCED, day_number, expected

# Tolerance: writes that end at almost the same time may have been committed in either order.
_SLACK = timedelta(seconds=1)


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


def a_record_says_which_rows_its_day_has(facts: Facts) -> Iterator[str]:
    """A day's record names the rows that the latest success loaded, even if the day failed since.

    The target contains exactly these rows if one sync of the day excludes the rows of another.
    """
    latest: dict[tuple[str, date], Row] = {}
    for attempt in sorted(facts.attempts, key=lambda one: one["ended_at"] or one["created_at"]):
        if attempt["state"] == "success":
            latest[attempt["dataset"], attempt["sync_date"]] = attempt
    for record in facts.days:
        day = (record["dataset"], record["sync_date"])
        name = f"day {day[0]} {day[1]} ({record['status']})"
        success = latest.get(day)
        said = (record["standing_rows"], record["standing_since"])
        loaded = (success["rows_loaded"], success["ended_at"]) if success else (None, None)
        if said != loaded:
            yield f"{name} has the rows {said}, but the latest success loaded {loaded}"
        held = len(facts.contents.get(day, []))
        exact = TABLES[day[0]].replaces or not TABLES[day[0]].can_resync
        if exact and held != (record["standing_rows"] or 0):
            yield f"{name} has {said[0]} rows, but the target has {held}"


def _describe(rows: Sequence[tuple[int, int]]) -> str:
    by_generation: dict[int, int] = defaultdict(int)
    for _, amount in rows:
        by_generation[amount // 1000] += 1
    return f"{len(rows)} rows, by generation: {dict(by_generation)}"


ROW_INVARIANTS: Sequence[Callable[[Facts], Iterator[str]]] = (
    a_synced_day_holds_exactly_its_source_rows,
    no_day_mixes_generations,
    kept_rows_are_those_of_all_syncs,
    shared_keys_are_kept_once,
    a_partition_holds_exactly_its_day,
    a_success_counts_the_rows_of_its_day,
    committed_rows_are_recorded,
    a_record_says_which_rows_its_day_has,
)
