"""Two workers never load the same day at the same time: the second worker waits or fails."""

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    ROWS_PER_DAY,
    START,
    Pipeline,
    at_once,
    execute,
    gate_closed,
    in_thread,
    open_batch,
    record,
    rows,
    run,
    wait_until_blocked,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(4)
WORKERS = 6
HOLDER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose target rejects a row while another session is loading that row."""
    pipeline.sync(DAYS[:1])
    run(
        pipeline.target,
        "CREATE FUNCTION alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NOT pg_try_advisory_xact_lock(77, NEW.id) THEN RAISE 'two loaders at once'; END IF; "
        "PERFORM pg_sleep(0.002); RETURN NEW; END $$",
        "CREATE TRIGGER alone BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION alone()",
    )
    return pipeline


@pytest.mark.parametrize("when", ["wait", "fail"])
def test_only_one_of_several_workers_loads_a_day_at_a_time(
    pipeline: Pipeline, connection: "Connection", when: str
) -> None:
    target = {"on_lock_conflict": when, "lock_timeout_seconds": 20}
    batches = [open_batch(pipeline.target, DAYS, f"batch-{n}") for n in range(WORKERS)]
    work = [
        partial(pipeline.sync, DAYS, batch, run_id=f"run-{n}", target=target)
        for n, batch in enumerate(batches)
    ]
    results = [result for found in at_once(work) for result in found]

    failed = [result for result in results if result.error is not None]
    assert all(f"{result.day} is being loaded by" in (result.error or "") for result in failed)
    assert bool(failed) == (when == "fail")
    assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
    attempts = rows(connection, "SELECT state, attempt, error_message FROM sync_attempt")
    begun = [one for one in attempts if one["attempt"] is not None]
    assert {one["state"] for one in begun} == {"success"}
    assert len(begun) == 1 + len(results) - len(failed)
    for batch in batches:
        closed = record(connection, batch.id)
        assert closed["success_count"] + closed["failed_count"] == len(DAYS)


def test_a_locked_day_fails_immediately_with_on_lock_conflict_fail_and_names_the_run(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    work = partial(pipeline.sync, DAYS, run_id="the-holder")
    with gate_closed(pipeline.source) as gate, in_thread(work) as holding:
        wait_until_blocked(connection, gate.info.backend_pid)
        target = {"on_lock_conflict": "fail", "lock_timeout_seconds": 600}
        started = time.monotonic()
        [result] = pipeline.sync([START], run_id="run-2", target=target)
        assert time.monotonic() - started < helpers.TIMEOUT_SECONDS
        execute(gate, "SELECT pg_advisory_unlock(42)")
        assert [one.outcome.value for one in holding.result(60)] == ["success"] * 4
    assert (result.error or "").startswith(
        "dataset orders: 2025-10-01 is being loaded by Dagster run the-holder (session pid "
    )


def test_a_locked_day_fails_after_the_lock_timeout_and_names_the_run(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    work = partial(pipeline.sync, DAYS, run_id="the-holder")
    with gate_closed(pipeline.source) as gate, in_thread(work) as holding:
        wait_until_blocked(connection, gate.info.backend_pid)
        [result] = pipeline.sync([START], run_id="run-2", retry={"max_attempts": 5})
        execute(gate, "SELECT pg_advisory_unlock(42)")
        holding.result(60)
    assert "by Dagster run the-holder (session pid " in (result.error or "")
    assert "; waited 0.2 s. " in (result.error or "")


def test_a_day_synced_while_another_worker_waits_for_its_lock_is_skipped_by_that_worker(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    run(pipeline.target, "TRUNCATE orders, sync_attempt, daily_sync_status")
    first, second = (open_batch(pipeline.target, DAYS, key) for key in ("first", "second"))
    target = {"write": "append_only", "lock_timeout_seconds": 20}
    sync = partial(pipeline.sync, DAYS, resync=False, target=target)
    with gate_closed(pipeline.source) as gate, in_thread(partial(sync, first)) as holding:
        wait_until_blocked(connection, gate.info.backend_pid)
        (holder,) = rows(connection, HOLDER)
        with in_thread(partial(sync, second, run_id="run-2")) as waiting:
            wait_until_blocked(connection, holder["pid"])
            execute(gate, "SELECT pg_advisory_unlock(42)")
            results = holding.result(60) + waiting.result(60)
    assert pipeline.loaded() == dict.fromkeys(DAYS, ROWS_PER_DAY)
    assert [result.error for result in results] == [None] * 8
    closed = [record(connection, batch.id) for batch in (first, second)]
    assert [one["status"] for one in closed] == ["success"] * 2
    assert sum(one["success_count"] for one in closed) == len(DAYS)
    assert sum(one["skipped_count"] for one in closed) == len(DAYS)


def test_two_runs_of_one_batch_sync_each_day_once(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    run(pipeline.target, "TRUNCATE orders, sync_attempt, daily_sync_status")
    batch = open_batch(pipeline.target, DAYS)
    sync = partial(pipeline.sync, DAYS, batch, target={"lock_timeout_seconds": 20})
    with gate_closed(pipeline.source) as gate, in_thread(sync) as holding:
        wait_until_blocked(connection, gate.info.backend_pid)
        (holder,) = rows(connection, HOLDER)
        with in_thread(partial(sync, run_id="run-2")) as waiting:
            wait_until_blocked(connection, holder["pid"])
            execute(gate, "SELECT pg_advisory_unlock(42)")
            results = holding.result(60) + waiting.result(60)
    outcomes = sorted(result.outcome.value for result in results)
    assert outcomes == ["skipped"] * 4 + ["success"] * 4
    assert len(rows(connection, "SELECT FROM sync_attempt WHERE attempt IS NOT NULL")) == 4
    assert record(connection, batch.id)["success_count"] == 4
