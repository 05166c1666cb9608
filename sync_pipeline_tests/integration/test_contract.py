"""The specification's statements and calls, used unchanged, give the right results at each stage.

One batch goes through the specification's four stages, and its record is written in three ways:
with the specification's SQL, with its two methods, and by the pipeline itself. Day records and
other batches exist alongside it.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import psycopg2
import pytest

from sync_pipeline.database import named_sql
from sync_pipeline.tracking.service import SyncStatusService
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import Worker, execute, record, rows

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

SQL = named_sql.load("sync_pipeline_tests.integration", "contract.sql")
RECORD_ID = 123  # the ID in the specification's statements
DAYS = helpers.days(10)
FINISHED = "批量同步完成: 2025-10-01至2025-10-10, 共10天, 成功8, 失败0, 跳过2, 耗时15分30秒"


class Stage(IntEnum):
    OPEN = 1
    PROGRESS = 2
    FINISHED = 3
    FAILED = 4


class Writer(Protocol):
    """Writes the record of the specification's batch, step by step."""

    def open(self) -> None: ...
    def progress(self) -> None: ...
    def finish(self) -> None: ...
    def fail(self) -> None: ...


class BySql:
    """Runs the specification's statements; there is none for stage 4."""

    def __init__(self, url: str, connection: "Connection") -> None:
        self.connection = connection

    def open(self) -> None:
        assert execute(self.connection, SQL["open_record"]) == 1

    def progress(self) -> None:
        assert execute(self.connection, SQL["progress_record"]) == 1

    def finish(self) -> None:
        assert execute(self.connection, SQL["finish_record"]) == 1

    def fail(self) -> None:
        statement = """UPDATE daily_sync_status SET status = 'failed',
            error_message = 'connection timeout', remarks = '批量同步失败: connection timeout'
            WHERE id = 123"""
        assert execute(self.connection, statement) == 1


class ByService:
    """Makes the calls shown in the specification."""

    def __init__(self, url: str, connection: "Connection") -> None:
        self.record_id: int | None = None

    def open(self) -> None:
        self.record_id = SyncStatusService.create_or_update_status(
            sync_date=date(2025, 10, 5),
            status="syncing",
            total_records=0,
            success_count=0,
            failed_count=0,
            remarks="批量同步: 2025-10-01 至 2025-10-10, 共10天",
        )
        assert self.record_id == RECORD_ID

    def progress(self) -> None:
        assert self.update(
            status="syncing",
            total_records=15000,
            success_count=2,
            failed_count=0,
            remarks="批量同步进度: 3/10天, 成功2, 失败0, 跳过1",
        )

    def finish(self) -> None:
        assert self.update(
            status="success",
            total_records=42000,
            success_count=8,
            failed_count=0,
            duration_seconds=int(930.7),
            remarks=FINISHED,
        )

    def fail(self) -> None:
        assert self.update(
            status="failed",
            error_message=str(TimeoutError("connection timeout")),
            remarks="批量同步失败: connection timeout",
        )

    def update(self, **fields: Any) -> bool:
        assert self.record_id is not None
        return SyncStatusService.update_status(record_id=self.record_id, **fields)


class ByPipeline:
    """Syncs days, skips them or marks them as not run; the pipeline updates the record."""

    def __init__(self, url: str, connection: "Connection") -> None:
        self.connection = connection
        self.worker = Worker(url)

    def open(self) -> None:
        self.worker = Worker(self.worker.url, helpers.open_batch(self.worker.url, DAYS))
        assert self.worker.batch_id == RECORD_ID

    def progress(self) -> None:
        self.worker.sync(*DAYS[:2], row_count=7500)
        self.worker.skip(DAYS[2])

    def finish(self) -> None:
        self.worker.skip(DAYS[3])
        self.worker.sync(*DAYS[4:9], row_count=4500)
        # Before the last day ends, move the start back so that the batch takes 930 seconds.
        last = self.worker.begin(DAYS[9])
        execute(
            self.connection,
            "UPDATE daily_sync_status SET start_time = clock_timestamp() - interval '930 seconds'"
            " WHERE id = 123",
        )
        self.worker.succeed(last, 4500)

    def fail(self) -> None:
        assert self.worker.mark_not_run("connection timeout") == 7


WRITERS = [BySql, ByService, ByPipeline]


@pytest.fixture
def others(connection: "Connection", database_url: str, environment: dict[str, str]) -> list[int]:
    return create_others(connection, database_url)


def create_others(connection: "Connection", url: str) -> list[int]:
    """Create a successful, a failed and a running batch, plus day records (one of them for 10-05);
    return the IDs of the batches. The next record gets the ID in the specification's statements."""
    alone = Worker(url, dataset="default")
    alone.sync(date(2025, 10, 5), date(2025, 10, 6))
    alone.break_at(date(2025, 10, 7), error="批量同步 of the source is down")
    alone.begin(date(2025, 10, 8))
    ids = []
    for number, last in enumerate(("success", "failed", None), 1):
        record_id = SyncStatusService.create_or_update_status(
            date(2025, 9, number), "syncing", remarks="批量同步: 2025-09-01 至 2025-09-03, 共3天"
        )
        assert record_id is not None
        if last:
            assert SyncStatusService.update_status(record_id, last, remarks="批量同步完成: ...")
        ids.append(record_id)
    rows(
        connection,
        "SELECT setval(pg_get_serial_sequence('daily_sync_status', 'id'), %s, false)",
        [RECORD_ID],
    )
    return ids


@pytest.fixture(params=WRITERS)
def writer(
    request: pytest.FixtureRequest, others: list[int], database_url: str, connection: "Connection"
) -> Writer:
    writer: Writer = request.param(database_url, connection)
    return writer


def reach(writer: Writer, stage: Stage) -> None:
    writer.open()
    if stage >= Stage.PROGRESS:
        writer.progress()
    if stage == Stage.FINISHED:
        writer.finish()
    if stage == Stage.FAILED:
        writer.fail()


def fields(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


COUNTS = ("status", "total_records", "success_count", "failed_count")
TYPED = ("kind", "sync_date", "start_date", "end_date", "total_days", "skipped_count")


def typed(skipped: int) -> tuple[Any, ...]:
    return ("batch", date(2025, 10, 5), DAYS[0], DAYS[-1], 10, skipped)


def test_an_opened_batch_is_syncing_with_its_range_and_zero_counts(
    writer: Writer, connection: "Connection"
) -> None:
    reach(writer, Stage.OPEN)
    row = record(connection, RECORD_ID)
    assert fields(row, *COUNTS) == ("syncing", 0, 0, 0)
    assert row["remarks"] == "批量同步: 2025-10-01 至 2025-10-10, 共10天"
    assert fields(row, *TYPED) == typed(skipped=0)
    assert fields(row, "end_time", "duration_seconds", "error_message") == (None, None, None)
    assert row["start_time"] is not None


def test_progress_updates_the_counts_and_leaves_the_batch_open(
    writer: Writer, connection: "Connection"
) -> None:
    reach(writer, Stage.OPEN)
    opened = record(connection, RECORD_ID)
    writer.progress()
    row = record(connection, RECORD_ID)
    assert fields(row, *COUNTS) == ("syncing", 15000, 2, 0)
    assert row["remarks"] == "批量同步进度: 3/10天, 成功2, 失败0, 跳过1"
    assert fields(row, *TYPED) == typed(skipped=1)
    assert fields(row, "end_time", "duration_seconds") == (None, None)
    assert row["start_time"] == opened["start_time"]
    assert row["updated_at"] > opened["updated_at"]


def test_a_finished_batch_is_a_success_with_its_totals_and_its_duration(
    writer: Writer, connection: "Connection"
) -> None:
    reach(writer, Stage.FINISHED)
    row = record(connection, RECORD_ID)
    assert fields(row, *COUNTS) == ("success", 42000, 8, 0)
    assert row["duration_seconds"] == 930
    assert row["remarks"] == (
        "批量同步完成: ..." if isinstance(writer, BySql) else FINISHED
    )  # the specification's statement abbreviates the remarks
    skipped = 1 if isinstance(writer, BySql) else 2
    assert fields(row, *TYPED) == typed(skipped)
    assert row["end_time"] >= row["start_time"]
    assert row["error_message"] is None


def test_a_failed_batch_has_its_error_and_keeps_its_counts(
    writer: Writer, connection: "Connection"
) -> None:
    reach(writer, Stage.FAILED)
    row = record(connection, RECORD_ID)
    assert fields(row, "status", "total_records", "success_count") == ("failed", 15000, 2)
    assert row["remarks"] == "批量同步失败: connection timeout"
    assert "connection timeout" in row["error_message"]
    assert fields(row, *TYPED) == typed(skipped=1)
    assert row["end_time"] >= row["start_time"]
    assert row["duration_seconds"] is not None
    # Only the pipeline's failed count includes days that were not run.
    assert row["failed_count"] == (7 if isinstance(writer, ByPipeline) else 0)


@pytest.mark.parametrize(
    ("success", "failed", "skipped", "problem"),
    [
        (8, 0, 2, None),
        (7, 0, 2, "the counts do not add up: 9 of 10 days"),
        (9, 0, 2, "the counts do not add up: 11 of 10 days"),
        (7, 1, 2, "1 days failed"),
    ],
)
def test_a_batch_kept_by_another_program_is_a_success_only_if_all_its_days_succeeded(
    make_database: Callable[[str | None], str],
    migrated_template: str,
    monkeypatch: pytest.MonkeyPatch,
    success: int,
    failed: int,
    skipped: int,
    problem: str | None,
) -> None:
    url = make_database(migrated_template)
    monkeypatch.setenv("SYNC_DATABASE_URL", url)
    monkeypatch.delenv("SYNC_TRACKING_URL", raising=False)
    opened = SyncStatusService.create_or_update_status(
        date(2025, 10, 5), "syncing", remarks="批量同步: 2025-10-01 至 2025-10-10, 共10天"
    )
    assert opened is not None
    assert SyncStatusService.update_status(
        opened,
        status="success",
        success_count=success,
        failed_count=failed,
        remarks=f"批量同步完成: 2025-10-01至2025-10-10, 共10天, 成功{success}, 失败{failed}, "
        f"跳过{skipped}, 耗时1分0秒",
    )
    with closing(psycopg2.connect(url)) as connection:
        row = record(connection, opened)
    assert row["status"] == ("success" if problem is None else "failed")
    assert row["error_message"] == problem


RUNNING_STAGES = {Stage.OPEN, Stage.PROGRESS}


@pytest.fixture(scope="class", params=list(Stage))
def stage(request: pytest.FixtureRequest) -> Stage:
    stage: Stage = request.param
    return stage


@pytest.fixture(scope="class", params=WRITERS)
def at_stage(
    request: pytest.FixtureRequest,
    stage: Stage,
    make_database: Callable[[str | None], str],
    migrated_template: str,
) -> Iterator[tuple["Connection", list[int]]]:
    """A database in which the batch is at this stage, and the IDs of the other batches."""
    url = make_database(migrated_template)
    with closing(psycopg2.connect(url)) as connection, pytest.MonkeyPatch.context() as patch:
        connection.autocommit = True
        patch.setenv("SYNC_DATABASE_URL", url)
        patch.delenv("SYNC_TRACKING_URL", raising=False)
        others = create_others(connection, url)
        reach(request.param(url, connection), stage)
        yield connection, others


class TestQueries:
    """Each query in the specification, run at each stage."""

    @pytest.fixture
    def connection(self, at_stage: tuple["Connection", list[int]]) -> "Connection":
        return at_stage[0]

    @pytest.fixture
    def others(self, at_stage: tuple["Connection", list[int]]) -> list[int]:
        return at_stage[1]

    def test_all_batches_are_listed_latest_start_first(
        self, connection: "Connection", others: list[int]
    ) -> None:
        found = rows(connection, SQL["all_batches"])
        started = [row["start_time"] for row in found]
        assert started == sorted(started, reverse=True)
        assert {row["id"] for row in found} == {RECORD_ID, *others}

    @pytest.mark.parametrize("query", ["running_batches", "watch_progress"])
    def test_running_batches_are_those_that_have_not_ended(
        self, connection: "Connection", others: list[int], stage: Stage, query: str
    ) -> None:
        expected = {others[2], RECORD_ID} if stage in RUNNING_STAGES else {others[2]}
        assert {row["id"] for row in rows(connection, SQL[query])} == expected

    @pytest.mark.parametrize("query", ["latest_finished_batches", "finished_batches"])
    def test_finished_batches_are_the_successes_latest_end_first(
        self, connection: "Connection", others: list[int], stage: Stage, query: str
    ) -> None:
        expected = [RECORD_ID, others[0]] if stage == Stage.FINISHED else [others[0]]
        assert [row["id"] for row in rows(connection, SQL[query])] == expected

    def test_watching_progress_shows_the_elapsed_seconds(
        self, connection: "Connection", stage: Stage
    ) -> None:
        found = {row["id"]: row for row in rows(connection, SQL["watch_progress"])}
        assert all(0 <= row["elapsed_seconds"] < 600 for row in found.values())
        if stage == Stage.PROGRESS:
            assert fields(found[RECORD_ID], "sync_date", *COUNTS, "remarks") == (
                date(2025, 10, 5),
                *("syncing", 15000, 2, 0),
                "批量同步进度: 3/10天, 成功2, 失败0, 跳过1",
            )

    def test_the_day_record_of_the_same_date_exists_alongside_the_batch(
        self, connection: "Connection"
    ) -> None:
        found = rows(
            connection,
            "SELECT kind, status FROM daily_sync_status"
            " WHERE sync_date = '2025-10-05' AND dataset = 'default' AND kind = 'day'",
        )
        assert found == [{"kind": "day", "status": "success"}]


def test_finished_batches_have_the_columns_that_the_specification_selects(
    others: list[int], connection: "Connection"
) -> None:
    (row,) = rows(connection, SQL["finished_batches"])
    assert list(row) == [
        *("id", "sync_date", "status", "total_records", "success_count", "failed_count"),
        *("duration_seconds", "remarks"),
    ]


def test_at_most_the_latest_ten_finished_batches_are_returned(
    environment: dict[str, str], connection: "Connection"
) -> None:
    ids = [
        SyncStatusService.create_or_update_status(day, "success", remarks="批量同步完成: ...")
        for day in helpers.days(12)
    ]
    found = [row["id"] for row in rows(connection, SQL["latest_finished_batches"])]
    assert found == ids[:1:-1]


def process_days(update: Callable[..., bool], record_id: int) -> Iterator[bool]:
    """Make the updates in the specification's batch flow (批量同步流程); yield each result."""
    for processed in range(1, 11):
        yield update(
            record_id=record_id,
            status="syncing",
            total_records=processed * 1000,
            success_count=processed,
            failed_count=0,
            remarks=f"批量同步进度: {processed}/10天...",
        )
    yield update(
        record_id=record_id,
        status="success",
        duration_seconds=int(12.9),
        remarks="批量同步完成: ...",
    )


@pytest.mark.parametrize("mid_date", [DAYS[0] + timedelta(days=10 // 2), date(2025, 10, 5)])
def test_the_printed_flow_works_with_either_reading_of_the_middle_date(
    environment: dict[str, str], connection: "Connection", mid_date: date
) -> None:
    record_id = SyncStatusService.create_or_update_status(
        sync_date=mid_date, status="syncing", remarks="批量同步: 2025-10-01 至 2025-10-10, 共10天"
    )
    assert record_id is not None
    assert all(process_days(SyncStatusService.update_status, record_id))
    row = record(connection, record_id)
    assert fields(row, *COUNTS) == ("success", 10000, 10, 0)
    assert fields(row, "sync_date", "total_days", "duration_seconds") == (mid_date, 10, 12)
