"""`max_connections` limits how many workers read a source at the same time, across all runs."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    TIMEOUT_SECONDS,
    Pipeline,
    execute,
    gate_closed,
    in_thread,
    open_batch,
    rows,
)
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(6)


def start(
    pipeline: Pipeline, of: list[date], max_connections: int, **more: Any
) -> Iterator[DayResult]:
    source = {"url_env": "SYNC_SOURCE_URL", "table": "orders_source", "day_column": "day"}
    return pipeline.start(of, source=source | {"max_connections": max_connections}, **more)


def readers(connection: "Connection") -> int:
    name = "sync_pipeline: read orders"
    sessions = "SELECT FROM pg_stat_activity WHERE application_name = %s AND state = 'active'"
    return len(rows(connection, sessions, [name]))


def slot_sessions(connection: "Connection") -> int:
    """Return the number of sessions that hold a slot or wait for one."""
    sessions = (
        "SELECT FROM pg_stat_activity WHERE application_name LIKE 'sync_pipeline: slot run %%'"
    )
    return len(rows(connection, sessions))


def test_a_worker_waits_until_another_run_releases_its_slot(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    first, second = start(pipeline, DAYS[:1], 1), start(pipeline, DAYS[1:2], 1, run_id="run-2")
    with (
        gate_closed(pipeline.source) as gate,
        in_thread(lambda: list(first)) as one,
        in_thread(lambda: list(second)) as two,
    ):
        wait_until(lambda: slot_sessions(connection) == 2 and readers(connection) == 1)
        assert not one.done()
        assert not two.done()
        execute(gate, "SELECT pg_advisory_unlock(42)")
        results = one.result(TIMEOUT_SECONDS) + two.result(TIMEOUT_SECONDS)
    assert [result.outcome for result in results] == [Outcome.SUCCESS] * 2
    wait_until(lambda: slot_sessions(connection) == 0)


def test_no_more_days_run_in_parallel_than_there_are_slots(
    pipeline: Pipeline, connection: "Connection", caplog: pytest.LogCaptureFixture
) -> None:
    batch = open_batch(pipeline.target, DAYS)
    results = start(pipeline, DAYS, 2, batch=batch, parallel_days=4)
    with in_thread(lambda: list(results)) as syncing:
        with gate_closed(pipeline.source):
            wait_until(lambda: "all max_connections slots for the source are in use" in caplog.text)
            assert readers(connection) <= 2
        assert len(syncing.result(TIMEOUT_SECONDS)) == len(DAYS)
    assert pipeline.loaded() == dict.fromkeys(DAYS, 10)
