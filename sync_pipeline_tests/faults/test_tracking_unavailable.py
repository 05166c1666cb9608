"""If the tracking server fails during a run, the sync continues, and its records are added later.

In these tests, the run ends or is killed before the server is available again, so the reconciler
must record its days. For runs that outlast the outage, see `integration/test_outages.py`.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from sync_pipeline.api.runs import runs_of
from sync_pipeline_tests.backfills import launch_backfill
from sync_pipeline_tests.command import folder_for_postgres
from sync_pipeline_tests.faults.servers import Server, query
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Stack, days, project, run_dagster
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

TIMEOUT_SECONDS = 180
PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Apart:
    """The stack, and a separate server for its tracking tables."""

    stack: Stack
    server: Server

    def launch(self, of: list[date]) -> str:
        """Launch a batch of slow days; return its key, which is the run ID."""
        self.stack.pause("orders", of, PAUSE_SECONDS)
        request = {"dataset": "orders", "start_date": str(of[0]), "end_date": str(of[-1])}
        return self.stack.dagster.launch_job("batch_backfill", config=request)

    def loaded(self, of: list[date]) -> list[date]:
        found = self.stack.target("SELECT DISTINCT day FROM orders WHERE day = ANY(%s)", [of])
        return [day for day in of if {"day": day} in found]

    def wait_until_loaded(self, of: list[date], count: int) -> None:
        wait_until(lambda: len(self.loaded(of)) >= count, TIMEOUT_SECONDS)

    def wait_until_ended(self, run_id: str) -> str:
        wait_until(
            lambda: self.stack.dagster.run_status(run_id) in ("SUCCESS", "FAILURE"),
            TIMEOUT_SECONDS,
        )
        return self.stack.dagster.run_status(run_id)

    def closed(self, key: str) -> dict[str, Any]:
        """Wait until the one record with this key is closed, and return it."""

        def found() -> list[dict[str, Any]]:
            return [row for row in self.stack.batches(key) if row["status"] != "syncing"]

        (record,) = wait_until(found, TIMEOUT_SECONDS)
        return record

    def clock(self) -> datetime:
        """Return the current time on the target's server."""
        (found,) = self.stack.target("SELECT clock_timestamp() AS now")
        now: datetime = found["now"]
        return now

    def work(self, record: dict[str, Any]) -> tuple[datetime, datetime]:
        """Return when the first day of a batch started, and when its last day ended."""
        of = self.stack.attempts(record["id"])
        return min(a["started_at"] for a in of), max(a["ended_at"] for a in of)

    def recorded_late(self, key: str) -> list[date]:
        """Return the days of a batch that were recorded late, either from Dagster's events or from
        the outbox in the target."""
        statement = """SELECT sync_date FROM sync_correction WHERE batch_key = %s
            AND what LIKE 'recorded a late outcome: %%' ORDER BY sync_date"""
        return [row["sync_date"] for row in self.stack.records(statement, [key])]


@pytest.fixture(scope="module")
def apart(
    make_database: Callable[[str | None], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Apart]:
    with ExitStack() as running:
        folder = running.enter_context(folder_for_postgres())
        server = running.enter_context(Server(folder / "records").running())
        query(server.url, "CREATE DATABASE records")
        made = running.enter_context(
            project(
                make_database,
                tmp_path_factory.mktemp("apart"),
                SYNC_TRACKING_URL=server.url.replace("/postgres?", "/records?"),
                SYNC_LOST_AFTER_SECONDS="3",
            )
        )
        dagster = running.enter_context(run_dagster(made.settings))
        yield Apart(Stack(made.settings, dagster), server)
        server.start()


def assert_complete(apart: Apart, record: dict[str, Any], of: list[date]) -> None:
    """Assert that the batch and all its days succeeded and the target has the source's rows."""
    assert (record["status"], record["success_count"]) == ("success", len(of))
    assert record["total_records"] == len(of) * ROWS_PER_DAY
    assert f"共{len(of)}天, 成功{len(of)}, 失败0, 跳过0" in record["remarks"]
    statement = """SELECT count(*) AS n FROM daily_sync_status WHERE kind = 'day'
        AND status = 'success' AND success_count = %s AND sync_date = ANY(%s)"""
    (found,) = apart.stack.records(statement, [ROWS_PER_DAY, of])
    assert found["n"] == len(of)
    assert apart.stack.differing_days("orders", of) == []


def test_records_are_complete_after_an_outage_that_lasts_until_the_run_ends(
    apart: Apart,
) -> None:
    of = days(date(2025, 1, 1), 12)
    key = apart.launch(of)
    apart.wait_until_loaded(of, 3)
    apart.server.stop_at_once()
    assert apart.wait_until_ended(key) == "SUCCESS"
    apart.server.start()
    assert_complete(apart, apart.closed(key), of)
    assert apart.recorded_late(key)


def test_records_are_complete_after_an_outage_during_the_whole_run(apart: Apart) -> None:
    of = days(date(2025, 2, 1), 6)
    apart.server.stop_at_once()
    launched_at = apart.clock()
    key = apart.launch(of)
    assert apart.wait_until_ended(key) == "SUCCESS"
    available_at = apart.clock()
    apart.server.start()
    record = apart.closed(key)
    assert_complete(apart, record, of)
    assert apart.recorded_late(key) == of
    began, ended = apart.work(record)
    assert launched_at < record["start_time"] < began
    assert record["end_time"] == ended < available_at
    assert record["duration_seconds"] == int((ended - record["start_time"]).total_seconds())


def test_a_backfill_during_an_outage_is_recorded_with_the_time_of_its_request(
    apart: Apart,
) -> None:
    of = days(date(2025, 5, 1), 3)
    apart.server.stop_at_once()
    launched_at = apart.clock()
    key = launch_backfill(apart.stack.dagster, of, asset="orders")
    (run,) = wait_until(lambda: runs_of(apart.stack.dagster, key), TIMEOUT_SECONDS)
    assert apart.wait_until_ended(run.run_id) == "SUCCESS"
    available_at = apart.clock()
    apart.server.start()
    record = apart.closed(key)
    assert_complete(apart, record, of)
    began, _ = apart.work(record)
    # Dagster stores the time in whole seconds.
    assert launched_at - timedelta(seconds=1) < record["start_time"] < began < available_at


def test_the_record_of_a_run_killed_during_an_outage_contains_its_days(apart: Apart) -> None:
    of = days(date(2025, 3, 1), 20)
    apart.stack.spoil("orders", of[4])
    key = apart.launch(of)
    apart.wait_until_loaded(of, 2)
    (worker,) = apart.stack.records("SELECT pid FROM sync_worker WHERE run_id = %s", [key])
    apart.server.stop_at_once()
    apart.wait_until_loaded(of, 8)
    os.kill(worker["pid"], signal.SIGKILL)
    apart.server.start()
    record = apart.closed(key)
    assert record["status"] == "failed"
    states = {a["sync_date"]: a for a in apart.stack.attempts(record["id"]) if not a["superseded"]}
    done = [day for day in of if states[day]["state"] == "success"]
    assert len(done) >= 7
    assert record["success_count"] == len(done)
    assert apart.stack.differing_days("orders", done) == []
    assert "violates check constraint" in states[of[4]]["error_message"]
    assert states[of[-1]]["error_message"].startswith("not run: ")
    assert f"run {key} " in states[of[-1]]["error_message"]
    assert len(apart.loaded(of)) - len(done) <= 2  # committed, but not yet reported when killed


def test_a_batch_killed_before_it_could_be_recorded_has_one_record(apart: Apart) -> None:
    of = days(date(2025, 4, 1), 6)
    apart.server.stop_at_once()
    launched_at = apart.clock()
    apart.stack.pause("orders", of, 60)
    request = {"dataset": "orders", "start_date": str(of[0]), "end_date": str(of[-1])}
    key = apart.stack.dagster.launch_job("batch_backfill", config=request)
    reading = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE %s AND state = 'active'"
    wait_until(lambda: apart.stack.source(reading, ["sync_pipeline: sync%"]), TIMEOUT_SECONDS)
    os.kill(run_process(apart.stack, key), signal.SIGKILL)
    assert apart.wait_until_ended(key) == "FAILURE"
    available_at = apart.clock()
    apart.server.start()
    record = apart.closed(key)
    assert launched_at < record["start_time"] <= record["end_time"] < available_at
    assert (record["status"], record["failed_count"]) == ("failed", 6)
    said = f"run {key} ended with status FAILURE without recording its days"
    assert said in record["error_message"]
    assert record["remarks"].startswith("批量同步失败: ")


def run_process(stack: Stack, run_id: str) -> int:
    """Return the PID of a run's process, as found in the run's event log."""
    query = "query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {"
    query += " ... on MessageEvent { message } } } } }"
    said = str(stack.dagster.graphql(query, {"id": run_id}))
    return int(said.split("Started process for run (pid: ")[1].split(")")[0])
