"""Workers that load days with shared keys at the same time neither lose rows nor deadlock, and a
worker that reconnects handles its target as before."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY
from sync_pipeline_tests.integration.targets.conftest import Writing, errors, row

pytestmark = pytest.mark.integration

MODES: dict[str, dict[str, Any]] = {
    "upsert": {"write": "upsert", "key": ["id"]},
    "append_only": {"write": "append_only", "key": ["id"]},
}
KEYS = 40
DAYS = helpers.days(4)
WORKERS = 4


def in_some_order(day: int) -> list[int]:
    """Return all keys in an order that differs from day to day."""
    return sorted(range(KEYS), key=lambda key: (key * 7 + 11 * day) % 41, reverse=day % 2 == 1)


@pytest.mark.parametrize("bad_rows", ["fail", "quarantine"])
@pytest.mark.parametrize("mode", MODES)
def test_workers_whose_days_share_all_keys_do_not_deadlock(
    writing: Writing, mode: str, bad_rows: str
) -> None:
    helpers.run(
        writing.syncing.url,
        "CREATE TABLE landed (id bigint PRIMARY KEY, note text CHECK (note <> 'bad'), "
        "sync_date date)",
        # Slow inserts ensure that all workers load rows at the same time.
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$",
        "CREATE TRIGGER slowly BEFORE INSERT ON landed FOR EACH ROW EXECUTE FUNCTION slowly()",
    )
    for number, day in enumerate(DAYS):
        given = [row(key, f"{day}") for key in in_some_order(number)]
        if bad_rows == "quarantine":
            given.insert(KEYS // 2, row(KEYS + number, "bad"))
        writing.give(day, *given)
    target = MODES[mode] | {"on_bad_row": bad_rows}
    work = [partial(writing.sync, *DAYS[n:], *DAYS[:n], **target) for n in range(WORKERS)] + [
        partial(writing.sync, day, **target) for day in DAYS
    ]
    assert [errors(results) for results in helpers.at_once(work)] == [[]] * len(work)
    found = writing.landed("id, note, sync_date::text")
    assert [key for key, _, _ in found] == list(range(KEYS))
    assert {(note, day) for _, note, day in found} <= {(str(day), str(day)) for day in DAYS}
    if mode == "append_only":
        assert len({note for _, note, _ in found}) == 1
    rejected = int(bad_rows == "quarantine")
    for day in DAYS:
        assert writing.counts(day) == (KEYS + rejected, KEYS, rejected)


def test_only_one_of_several_workers_appends_a_day_and_the_others_fail(writing: Writing) -> None:
    writing.give(DAY, *[row(key) for key in range(500)])
    work = [partial(writing.sync, DAY, write="append_only") for _ in range(WORKERS)]
    found = [text for results in helpers.at_once(work) for text in errors(results)]
    assert len(found) == WORKERS - 1
    assert all("already has 500 rows for 2025-10-01" in text for text in found)
    assert len(writing.landed()) == 500


def lost_once(writing: Writing) -> Iterator[dict[str, Any]]:
    """Yield rows; after the first one, terminate the worker's connection to the target."""
    yield row(1, "a")
    helpers.run(
        writing.syncing.url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE '%sync run run-1'",
    )
    yield from (row(number) for number in range(2, 100_000))


@pytest.mark.parametrize("mode", ["replace_day", "upsert"])
def test_a_worker_that_reconnects_handles_its_target_as_before(writing: Writing, mode: str) -> None:
    """After reconnecting, the worker still uses partitions, the text format and the quarantine."""
    helpers.run(
        writing.syncing.url,
        "CREATE TABLE landed (id numeric, note text CHECK (note <> 'bad'), sync_date date) "
        "PARTITION BY RANGE (sync_date)",
        "ALTER TABLE landed ADD UNIQUE (id, sync_date)",
    )
    target: dict[str, Any] = {"on_bad_row": "quarantine", "write": mode}
    target |= {"key": ["id", "sync_date"]} if mode == "upsert" else {}
    writing.give(DAY, row(1, "bad"))
    writing.sync(DAY, **target)
    assert len(writing.rejected()) == 1
    writing.changes = {"retry": {"max_attempts": 2, "initial_backoff_seconds": 0.01}}
    writing.give(DAY, row(1, "fine"), row(2, "bad"))
    writing.give(NEXT_DAY, row(1, "fine"), row(2, "bad"))
    writing.disturb(NEXT_DAY, partial(lost_once, writing))
    assert errors(writing.sync(DAY, NEXT_DAY, **target)) == []
    assert writing.landed("id::int, note, sync_date") == [(1, "fine", DAY), (1, "fine", NEXT_DAY)]
    assert len(writing.rejected()) == 2
