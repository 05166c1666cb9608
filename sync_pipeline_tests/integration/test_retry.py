"""`sync-pipeline retry` resumes a failed batch in the same record while Dagster is not running."""

import signal
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sync_pipeline_tests.command import Ended, end_of, run, started
from sync_pipeline_tests.integration.commands import backfill
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Databases, days
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration


def retry(project: Databases, batch: object, *options: str) -> Ended:
    return run(project.settings.environment, "retry", batch, *options)


def record_of(project: Databases, of: list[date]) -> dict[str, Any]:
    """Return the only batch record with exactly this day range."""
    (found,) = [
        row for row in project.batches() if (row["start_date"], row["end_date"]) == (of[0], of[-1])
    ]
    return found


def history(project: Databases, record: dict[str, Any]) -> dict[date, list[str]]:
    """Return, for each day in the batch, the states of its attempts in order."""
    states: dict[date, list[str]] = {}
    for attempt in project.attempts(record["id"]):
        states.setdefault(attempt["sync_date"], []).append(attempt["state"])
    return states


def test_a_retry_syncs_the_unfinished_days_only_and_completes_the_same_record(
    project: Databases,
) -> None:
    of = days(date(2025, 1, 1), 5)
    project.spoil("orders", of[2])
    assert backfill(project, of).code == 1
    before = record_of(project, of)
    assert before["status"] == "failed"

    project.repair("orders", of[2])
    ended = retry(project, before["id"])
    assert (ended.code, ended.errors) == (0, "")
    after = record_of(project, of)
    assert after["id"] == before["id"]
    assert (after["status"], after["error_message"]) == ("success", None)
    assert (after["success_count"], after["failed_count"], after["skipped_count"]) == (5, 0, 0)
    assert after["total_records"] == 5 * ROWS_PER_DAY
    assert "共5天, 成功5, 失败0, 跳过0" in after["remarks"]
    assert after["retried_at"] > before["end_time"]
    assert history(project, after) == {
        **{day: ["success"] for day in of},
        of[2]: ["failed", "success"],
    }
    assert project.differing_days("orders", of) == []
    assert len(project.batches(after["batch_key"])) == 1


def test_a_retry_leaves_out_days_before_a_changed_start_date(project: Databases) -> None:
    of = days(date(2025, 7, 1), 4)
    for day in (of[0], of[2]):
        project.spoil("orders", day)
    assert backfill(project, of).code == 1
    project.repair("orders", of[2])
    folder = Path(project.settings.environment["SYNC_PROJECT_DIR"])
    (defs,) = folder.rglob("orders/defs.yaml")
    text = defs.read_text()
    try:
        defs.write_text(text.replace("start_date: 2025-01-01", f"start_date: {of[1]}"))
        assert defs.read_text() != text
        ended = retry(project, record_of(project, of)["id"])
        refused = backfill(project, of[:2])
    finally:
        defs.write_text(text)
    assert ended.code == 1  # the first day is still failed
    record = record_of(project, of)
    assert (record["status"], record["success_count"], record["failed_count"]) == ("failed", 3, 1)
    assert history(project, record)[of[2]] == ["failed", "success"]
    assert history(project, record)[of[0]] == ["failed"]
    assert (refused.code, "is before its first day" in refused.complaint) == (2, True)
    project.repair("orders", of[0])


def test_a_retry_by_key_that_fails_again_leaves_the_record_failed_with_the_new_error(
    project: Databases,
) -> None:
    of = days(date(2025, 1, 11), 3)
    project.spoil("orders", of[1])
    backfill(project, of)
    before = record_of(project, of)
    ended = retry(project, before["batch_key"], "--json")
    assert ended.code == 1
    assert f"batch {before['id']} failed: 1 of 3 days failed: {of[1]}" in ended.complaint
    after = record_of(project, of)
    assert (after["status"], after["success_count"], after["failed_count"]) == ("failed", 2, 1)
    assert history(project, after)[of[1]] == ["failed", "failed"]
    project.repair("orders", of[1])


def test_a_retried_batch_is_syncing_from_the_start_of_the_retry(project: Databases) -> None:
    of = days(date(2025, 2, 1), 3)
    for day in of:
        project.spoil("orders", day)
    backfill(project, of)
    record = record_of(project, of)
    for day in of:
        project.repair("orders", day)
    with closing(psycopg2.connect(project.settings.database_url)) as other:
        other.cursor().execute("LOCK TABLE orders IN EXCLUSIVE MODE")  # no day can be committed
        with started(project.settings.environment, "retry", str(record["id"])) as process:
            retried = wait_until(lambda: (r := record_of(project, of))["status"] == "syncing" and r)
            assert retried
            assert (retried["success_count"], retried["failed_count"]) == (0, 0)
            assert (retried["end_time"], retried["error_message"]) == (None, None)
            refused = retry(project, record["id"])
            other.rollback()
            assert end_of(process).code == 0
    assert refused.code == 2
    assert refused.complaint.endswith(
        f"batch {record['id']} is still running; "
        f"follow it: sync-pipeline status {record['id']} --follow"
    )
    assert record_of(project, of)["status"] == "success"


def test_a_cancelled_batch_records_who_cancelled_it_and_a_retry_syncs_the_rest(
    project: Databases,
) -> None:
    of = days(date(2025, 3, 1), 12)
    project.pause("orders", of, 0.3)
    arguments = ("backfill", "orders", of[0], of[-1])
    with started(project.settings.environment, *arguments) as process:
        first = "SELECT id FROM daily_sync_status WHERE start_date = %s AND success_count >= 2"
        wait_until(lambda: project.target(first + " AND kind = 'batch'", [of[0]]))
        process.send_signal(signal.SIGINT)
        assert end_of(process).code == 130
    record = record_of(project, of)
    kept = record["success_count"]
    user = record["triggered_by"].removesuffix(", command line")
    assert user
    assert f"cancelled by {user} at the command line" in record["error_message"]
    project.pause("orders", of, 0)
    assert retry(project, record["id"]).code == 0
    after = record_of(project, of)
    assert (after["status"], after["success_count"]) == ("success", 12)
    states = list(history(project, after).values())
    assert states == [["success"]] * kept + [["failed", "success"]] * (12 - kept)
    assert project.differing_days("orders", of) == []


def test_a_retry_skips_days_that_another_batch_has_synced_unless_the_batch_resyncs(
    project: Databases,
) -> None:
    of = days(date(2025, 4, 1), 4)
    for day in of[:2]:
        project.spoil("orders", day)
    backfill(project, of)
    record = record_of(project, of)
    for day in of[:2]:
        project.repair("orders", day)
    backfill(project, of[:1])
    assert retry(project, record["id"]).code == 0
    after = record_of(project, of)
    assert (after["success_count"], after["skipped_count"]) == (3, 1)

    resynced = days(date(2025, 4, 11), 2)
    project.spoil("orders", resynced[0])
    backfill(project, resynced, "--resync")
    project.repair("orders", resynced[0])
    backfill(project, resynced[:1])
    record = record_of(project, resynced)
    assert record["already_synced"] == "resync"
    assert retry(project, record["id"]).code == 0
    after = record_of(project, resynced)
    assert (after["success_count"], after["skipped_count"]) == (2, 0)


@pytest.fixture(scope="module")
def refused(project: Databases) -> dict[str, Ended]:
    of = days(date(2025, 5, 1), 2)
    backfill(project, of)
    (unmanaged,) = project.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, dataset) VALUES"
        " ('2025-05-10', 'failed', '批量同步失败: disk full', 'orders') RETURNING id"
    )
    requested = {
        "unknown": "4711",
        "done": record_of(project, of)["id"],
        "unmanaged": unmanaged["id"],
    }
    return {name: retry(project, batch) for name, batch in requested.items()}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", "batch 4711 not found; see: sync-pipeline status"),
        ("done", "has no unfinished days; to sync all days again: sync-pipeline backfill orders"),
        (
            "unmanaged",
            "was written through SyncStatusService or SQL, not by the pipeline; sync its days: ",
        ),
    ],
)
def test_a_batch_that_cannot_be_retried_gives_a_one_line_error(
    refused: dict[str, Ended], name: str, message: str
) -> None:
    assert refused[name].code == 2
    assert message in refused[name].complaint
    assert refused[name].errors.count("\n") == 1
