"""Reports: the progress and the days of a batch, and the views over a small, known history."""

from dataclasses import replace
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.models import AttemptState, BatchProgress
from sync_pipeline.tracking.read import reports
from sync_pipeline.tracking.read.reports import DayOfBatch
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    START,
    Worker,
    execute,
    open_batch,
    rows,
    run,
    transaction,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(10)


def progress(url: str, batch: str) -> BatchProgress:
    with transaction(url) as cursor:
        found = reports.progress(cursor, batch)
    assert found is not None
    return found


def started_ago(connection: "Connection", worker: Worker, seconds: int) -> None:
    update = "UPDATE daily_sync_status SET start_time = now() - %s * interval '1 s' WHERE id = %s"
    execute(connection, update, [seconds, worker.batch_id])


class TestProgress:
    """The progress of a batch."""

    def test_a_running_batch_has_percent_rows_per_second_and_seconds_left(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.skip(DAYS[0])
        worker.sync(*DAYS[1:4], row_count=500)
        worker.break_at(DAYS[4])
        started_ago(connection, worker, 100)
        waited = 60  # seconds before the first day, which do not affect the batch's speed
        first_day = (
            "UPDATE sync_attempt SET started_at = now() - %s * interval '1 s' WHERE attempt = 1"
        )
        execute(connection, first_day + " AND sync_date = %s", [100 - waited, DAYS[1]])

        shown = progress(worker.url, "batch-1")

        assert (shown.status, shown.done_days, shown.total_days) == ("syncing", 5, 10)
        assert (shown.success_count, shown.failed_count, shown.skipped_count) == (3, 1, 1)
        assert shown.percent == 50.0
        assert 100 <= shown.elapsed_seconds < 100 + helpers.TIMEOUT_SECONDS
        working = shown.elapsed_seconds - waited
        assert shown.rows_per_second == pytest.approx(1500 / working, rel=0.01)
        # The estimate assumes five more days at the pace of the four that ran (one was skipped).
        assert shown.eta_seconds == pytest.approx(working / 4 * 5, rel=0.01)
        assert shown.error_message is not None

    def test_before_the_first_day_there_is_no_estimate(self, worker: Worker) -> None:
        shown = progress(worker.url, "batch-1")
        assert (shown.percent, shown.eta_seconds, shown.duration_seconds) == (0.0, None, None)
        assert (shown.start_date, shown.end_date, shown.sync_date) == (START, DAYS[9], DAYS[4])
        assert (shown.run_id, shown.triggered_by) == ("run-1", "a test")

    def test_the_times_of_a_finished_batch_do_not_change(
        self, worker: Worker, connection: "Connection"
    ) -> None:
        worker.sync(*DAYS[:9])
        started_ago(connection, worker, 100)
        worker.sync(DAYS[9])
        shown = progress(worker.url, "batch-1")
        assert (shown.status, shown.percent, shown.eta_seconds) == ("success", 100.0, None)
        assert shown.end_time is not None
        took = (shown.end_time - shown.start_time).total_seconds()
        assert shown.elapsed_seconds == pytest.approx(took, abs=0.001)
        assert shown.duration_seconds == int(took)
        assert progress(worker.url, "batch-1") == shown


def test_a_batch_is_found_by_id_or_key_and_the_id_takes_precedence(database_url: str) -> None:
    first = open_batch(database_url, DAYS)
    numbered = open_batch(database_url, DAYS, str(first.id))
    other = open_batch(database_url, DAYS, "7000000000000000001")
    open_batch(database_url, DAYS, "batch-1", dataset="customers")

    assert progress(database_url, str(first.id)).id == first.id
    assert progress(database_url, str(numbered.id)).batch_key == str(first.id)
    assert progress(database_url, "7000000000000000001").id == other.id
    assert progress(database_url, "batch-1").id == first.id
    with transaction(database_url) as cursor:
        for unknown in ("nothing", "0", "", "²", "9" * 40, "-1"):
            assert reports.progress(cursor, unknown) is None


def test_recent_batches_are_the_latest_ones_up_to_the_limit(
    database_url: str, connection: "Connection"
) -> None:
    batches = [open_batch(database_url, DAYS, f"batch-{n}") for n in range(4)]
    started_ago(connection, Worker(database_url, batches[3]), 60)
    Worker(database_url).sync(START)
    with transaction(database_url) as cursor:
        found = [batch.id for batch in reports.recent_batches(cursor, 3)]
    assert found == [batches[n].id for n in (2, 1, 0)]


def test_the_days_of_a_batch_are_listed_with_their_latest_attempts(worker: Worker) -> None:
    worker.break_at(DAYS[1])
    replace(worker, run_id="run-2").sync(DAYS[1], row_count=7)
    Worker(worker.url).sync(*DAYS[2:4])
    worker.skip(DAYS[3])
    worker.break_at(DAYS[2])
    with transaction(worker.url) as cursor:
        assert worker.batch_id is not None
        found = reports.days_of_batch(cursor, worker.batch_id)

    assert [day.sync_date for day in found] == DAYS
    shown = [replace(day, duration_seconds=None) for day in found[:4]]
    nothing = (0, 0, 0, 0, None)
    assert shown == [
        DayOfBatch(DAYS[0], AttemptState.PENDING, None, *nothing, None, "run-1"),
        DayOfBatch(DAYS[1], AttemptState.SUCCESS, 2, 7, 7, 0, 70, None, None, "run-2"),
        DayOfBatch(DAYS[2], AttemptState.FAILED, 2, *nothing, "disk full", "run-1"),
        DayOfBatch(DAYS[3], AttemptState.SKIPPED, None, *nothing, None, "run-1"),
    ]
    assert [day.duration_seconds is None for day in found[:4]] == [True, False, False, True]


class TestViews:
    """The views over a known history."""

    @pytest.fixture(autouse=True)
    def _history(self, worker: Worker) -> None:
        """Sync ten days (two synced, one failed, one missing, two synced, one running, three
        missing) and one day of another dataset."""
        worker.sync(*DAYS[:2])
        worker.break_at(DAYS[2])
        worker.sync(*DAYS[4:6])
        worker.begin(DAYS[6])
        Worker(worker.url, dataset="customers").sync(DAYS[3], row_count=5)

    def test_coverage_has_every_day_of_a_dataset_with_its_state(
        self, connection: "Connection"
    ) -> None:
        view = "SELECT * FROM sync_day_coverage ORDER BY dataset, sync_date"
        found = [(row["dataset"], row["sync_date"], row["state"]) for row in rows(connection, view)]
        in_order = "success success failed missing success success syncing missing missing missing"
        assert found == [
            ("customers", DAYS[3], "success"),
            *[("orders", day, state) for day, state in zip(DAYS, in_order.split(), strict=True)],
        ]
        failed = rows(connection, "SELECT * FROM sync_day_coverage WHERE state = 'failed'")
        assert [row["error_message"] for row in failed] == ["disk full"]

    def test_gaps_are_ranges_of_days_that_are_missing_or_failed(
        self, connection: "Connection"
    ) -> None:
        found = rows(connection, "SELECT * FROM sync_day_gap ORDER BY dataset, start_date")
        assert [tuple(row.values()) for row in found] == [
            ("orders", DAYS[2], DAYS[3], 2),
            ("orders", DAYS[7], DAYS[9], 3),
        ]

    def test_the_success_rate_counts_attempts_by_the_week_in_which_they_ended(
        self, connection: "Connection"
    ) -> None:
        execute(connection, "SET TimeZone = 'Asia/Shanghai'")  # where the week has begun already
        sunday = datetime(2025, 10, 12, 23, 59, tzinfo=timezone.utc)
        execute(
            connection,
            "UPDATE sync_attempt SET ended_at = %s + (sync_date - '2025-10-01') * interval '30 s' "
            "WHERE dataset = 'orders' AND state IN ('success', 'failed')",
            [sunday],
        )
        view = "SELECT * FROM sync_success_rate_by_week WHERE dataset = 'orders' ORDER BY week"
        assert [tuple(row.values()) for row in rows(connection, view)] == [
            ("orders", date(2025, 10, 6), 2, 0, Decimal("100.0")),
            ("orders", date(2025, 10, 13), 2, 1, Decimal("66.7")),
        ]

    def test_the_success_rate_is_100_percent_only_if_nothing_failed(
        self, connection: "Connection"
    ) -> None:
        execute(
            connection,
            """INSERT INTO sync_attempt (dataset, sync_date, attempt, state, error_message,
                                         started_at, ended_at)
               SELECT 'many', '2025-10-01', n, CASE WHEN n = 1 THEN 'failed' ELSE 'success' END,
                      CASE WHEN n = 1 THEN 'disk full' END, '2025-10-15', '2025-10-15'
               FROM generate_series(1, 6177) AS n""",
        )
        view = "SELECT success_percent FROM sync_success_rate_by_week WHERE dataset = 'many'"
        assert rows(connection, view) == [{"success_percent": Decimal("99.9")}]

    def test_slowest_days_come_first_with_their_rows_per_second(
        self, connection: "Connection"
    ) -> None:
        execute(
            connection,
            "UPDATE sync_attempt SET ended_at = started_at "
            "+ (1 + sync_date - '2025-10-01') * interval '10 s' WHERE state = 'success'",
        )
        found = rows(connection, "SELECT * FROM sync_slowest_day")
        shown = [
            (row["sync_date"], row["duration_seconds"], row["rows_per_second"]) for row in found
        ]
        assert shown == [
            (DAYS[5], 60, Decimal("1.7")),
            (DAYS[4], 50, Decimal("2.0")),
            (DAYS[3], 40, Decimal("0.1")),
            (DAYS[1], 20, Decimal("5.0")),
            (DAYS[0], 10, Decimal("10.0")),
        ]


QUERIES = named_sql.load("sync_pipeline_tests.integration", "contract.sql")


@pytest.fixture(scope="module")
def many_records(one_database: str) -> str:
    """Insert 202,000 records (500 days for each of 400 datasets, and 2,000 batches)."""
    helpers.clear(one_database)
    run(
        one_database,
        "ALTER TABLE daily_sync_status DISABLE TRIGGER daily_sync_status_fill",
        """INSERT INTO daily_sync_status (dataset, kind, sync_date, start_date, end_date,
               total_days, status, remarks, start_time, end_time)
           SELECT 'dataset_' || n % 400, 'day', day, day, day, 1, 'success',
               '单日同步完成: ' || day || ', 读取0行, 写入0行, 拒绝0行', day, day
           FROM generate_series(0, 199999) n, LATERAL (SELECT date '2024-01-01' + n / 400) d (day)
        """,
        """INSERT INTO daily_sync_status (dataset, kind, batch_key, sync_date, start_date,
               end_date, total_days, success_count, status, remarks, start_time, end_time)
           SELECT 'dataset_' || n % 400, 'batch', n, day, day, day, 1,
               CASE WHEN n < 1990 THEN 1 ELSE 0 END,
               CASE WHEN n < 1990 THEN 'success' ELSE 'syncing' END,
               '批量同步: ' || day || ' 至 ' || day || ', 共1天', day,
               CASE WHEN n < 1990 THEN day END
           FROM generate_series(1, 2000) n, LATERAL (SELECT date '2024-01-01' + n / 5) d (day)
        """,
        "ALTER TABLE daily_sync_status ENABLE TRIGGER daily_sync_status_fill",
        "ANALYZE daily_sync_status",
    )
    return one_database


@pytest.mark.parametrize("query", list(QUERIES)[3:])
def test_the_queries_of_the_specification_use_an_index(many_records: str, query: str) -> None:
    plan = run(many_records, f"EXPLAIN {QUERIES[query]}")
    text = "\n".join(line for (line,) in plan)
    assert "daily_sync_status_" in text
    assert "Seq Scan" not in text, text
