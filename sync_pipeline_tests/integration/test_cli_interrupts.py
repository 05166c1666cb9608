"""A batch whose command, process or storage is interrupted, killed or lost has a correct record."""

import json
import signal
import subprocess
import sys
from datetime import date

import psutil
import pytest

from sync_pipeline_tests.command import end_of, run_script
from sync_pipeline_tests.integration.commands import backfill, in_work, run_of, running
from sync_pipeline_tests.stack_project import Databases, days
from sync_pipeline_tests.waiting import TIMEOUT_SECONDS, wait_until

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("number", "first"),
    [(signal.SIGINT, date(2025, 3, 1)), (signal.SIGTERM, date(2025, 4, 1))],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_cancels_the_batch_rolls_back_its_day_and_keeps_earlier_days(
    project: Databases, number: signal.Signals, first: date
) -> None:
    with running(project, first, finished=2, script=True) as (process, key, worker):
        wait_until(lambda: in_work(project, key))
        for _ in range(2):  # the second signal must not interrupt the first one's cleanup
            process.send_signal(number)
        ended = end_of(process)
    assert ended.code == 130
    assert not worker.is_running()
    record = project.batch(key)
    of, kept = days(first, 20), record["success_count"]
    assert (record["status"], record["failed_count"], 2 <= kept < 20) == ("failed", 20 - kept, True)
    who = record["triggered_by"].removesuffix(", command line")
    assert record["remarks"] == f"批量同步失败: cancelled by {who} at the command line"
    assert record["remarks"] in ended.out
    assert ended.errors.startswith(
        f"sync-pipeline: dataset orders: batch {record['id']} was cancelled: "
    )
    reason = f"cancelled by {who} at the command line; the day was running and was rolled back"
    assert f"{of[kept]}: {reason}" in ended.errors
    assert ended.errors.count("\n") == 1
    assert project.differing_days("orders", of[:kept]) == []
    assert all(project.rows_of("orders", day) == [] for day in of[kept:])
    assert run_of(project, record["run_id"])["status"] == "CANCELED"


def test_a_batch_cancelled_before_its_first_day_leaves_nothing_open(project: Databases) -> None:
    first = date(2025, 5, 1)
    with running(project, first, finished=0) as (process, key, worker):
        process.send_signal(signal.SIGINT)
        ended = end_of(process)
    assert ended.code == 130
    assert not worker.is_running()
    assert "cancelled" in ended.complaint
    for record in project.batches(key):  # there is none if it had not been opened yet
        user = record["triggered_by"].removesuffix(", command line")
        assert record["status"] == "failed"
        assert record["remarks"] == f"批量同步失败: cancelled by {user} at the command line"
    tag = "SELECT run_id FROM dagster.run_tags WHERE key = 'sync_pipeline/batch_key' AND value = %s"
    for found in project.target(tag, [key]):
        assert run_of(project, found["run_id"])["status"] == "CANCELED"


def test_a_batch_whose_process_is_killed_is_closed_immediately(project: Databases) -> None:
    with running(project, date(2025, 6, 1), finished=1) as (process, key, worker):
        worker.kill()
        ended = end_of(process)
    assert ended.code == 1
    record = project.batch(key)
    assert (record["status"], record["success_count"] >= 1) == ("failed", True)
    assert f"the process of run {record['run_id']} was killed by signal 9" in ended.complaint


def test_a_batch_is_cancelled_if_its_command_is_killed(project: Databases) -> None:
    with running(project, date(2025, 2, 1), finished=1) as (process, key, worker):
        process.kill()
        psutil.wait_procs([worker], TIMEOUT_SECONDS)
    record = project.batch(key)
    user = record["triggered_by"].removesuffix(", command line")
    said = f"cancelled: the command started by {user} was killed"
    assert (record["status"], record["remarks"]) == ("failed", f"批量同步失败: {said}")


def test_nothing_is_created_if_the_command_is_killed_before_its_run_exists(
    project: Databases,
) -> None:
    key, day = "cli-killed-early", "2025-12-30"
    config = {"dataset": "orders", "start_date": day, "end_date": day, "already_synced": "skip"}
    request = {"config": config, "batch_key": key, "triggered_by": "me", "retry": False}
    request["environment"] = dict(project.settings.environment)
    ended = subprocess.run(
        [sys.executable, "-m", "sync_pipeline.orchestration.run_batch"],
        input=json.dumps(request) + "\n",  # then the input ends, as when the command is killed
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert project.batches(key) == []
    assert project.rows_of("orders", date.fromisoformat(day)) == []
    tagged = "SELECT FROM dagster.run_tags WHERE value = %s"
    assert project.target(tagged, [key]) == []


def test_a_command_that_fails_before_its_launch_leaves_no_process(project: Databases) -> None:
    wrong = "postgresql:///?host=/nowhere"
    words = ("backfill", "orders", "2025-12-29", "2025-12-29")
    ended = run_script(project.settings.environment, *words, SYNC_DATABASE_URL=wrong)
    assert ended.code == 3
    assert "cannot connect to the database in SYNC_DATABASE_URL" in ended.complaint
    environments = [one.info["environ"] or {} for one in psutil.process_iter(["environ"])]
    assert wrong not in [environment.get("SYNC_DATABASE_URL") for environment in environments]


def test_a_command_closes_records_left_open_by_a_killed_one(project: Databases) -> None:
    first = date(2025, 10, 1)
    with running(project, first, finished=2) as (process, key, worker):
        both = [psutil.Process(process.pid), worker]
        for one in both:
            one.suspend()  # so that neither reacts when the other dies
        for one in both:
            one.kill()
        psutil.wait_procs(both)
    assert project.batch(key)["status"] == "syncing"
    other = days(date(2025, 11, 1), 1)
    assert backfill(project, other).code == 0
    record = project.batch(key)
    assert record["status"] == "failed"
    assert f"run {record['run_id']} was lost: its process {worker.pid}" in record["error_message"]
    assert run_of(project, record["run_id"])["status"] == "FAILURE"
    done = [a["sync_date"] for a in project.attempts(record["id"]) if a["state"] == "success"]
    assert len(done) == record["success_count"] >= 2
    assert project.differing_days("orders", done) == []


def test_a_batch_that_loses_dagsters_storage_is_closed_with_the_reason(project: Databases) -> None:
    with running(project, date(2025, 7, 1), finished=1) as (process, key, _):
        project.target("ALTER SCHEMA dagster RENAME TO dagster_elsewhere")
        try:
            ended = end_of(process)
        finally:
            project.target("ALTER SCHEMA dagster_elsewhere RENAME TO dagster")
    assert ended.code == 1
    assert project.batch(key)["status"] == "failed"
    assert "Dagster's storage returned an error: " in ended.complaint
    assert "check SYNC_DAGSTER_STORAGE_URL" in ended.complaint
