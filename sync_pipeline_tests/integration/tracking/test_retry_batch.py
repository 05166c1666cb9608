"""Which days of a batch a run starts, and which the next run retries or closes.

A run starts neither days that are already synced nor days of a cancelled batch.
"""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sync_pipeline.errors import BatchCancelledError, DayDoneError
from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.state import batches, requests
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    START,
    Worker,
    clock,
    everything,
    open_batch,
    record,
    states,
    transaction,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(4)


def test_a_day_synced_in_its_batch_can_be_started_again_in_another_batch_only(
    worker: Worker, connection: "Connection"
) -> None:
    worker.sync(START)
    before = everything(connection)
    with pytest.raises(DayDoneError, match="orders: 2025-10-01 is already synced"):
        replace(worker, run_id="run-2").begin(START)
    assert everything(connection) == before
    assert Worker(worker.url, open_batch(worker.url, DAYS, "another")).begin(START).number == 2


def test_without_resync_a_day_that_any_worker_has_synced_is_not_started(
    worker: Worker, connection: "Connection"
) -> None:
    Worker(worker.url).sync(START)
    before = everything(connection)
    with pytest.raises(DayDoneError), transaction(worker.url) as cursor:
        worker.begin_in(cursor, START, resync=False)
    assert everything(connection) == before


def test_a_day_that_failed_after_it_was_synced_in_the_batch_can_be_started(worker: Worker) -> None:
    worker.sync(START)
    Worker(worker.url).break_at(START)
    assert worker.begin(START).number == 3


def test_closing_the_days_of_a_run_does_not_close_days_planned_by_another_run(
    worker: Worker, connection: "Connection"
) -> None:
    assert worker.batch is not None
    new = BatchSpec("batch-1", helpers.DATASET, DAYS, "run-2", "a test")
    worker.mark_not_run("run-1 was killed")
    with transaction(worker.url) as cursor:
        batches.retry_days(cursor, worker.batch.id, new, DAYS, clock(cursor))
    replace(worker, run_id="run-2").begin(START)
    settings = Settings({"SYNC_DATABASE_URL": worker.url})
    with Tracker(settings, run_id="run-1") as late:
        late.mark_batch_not_run("batch-1", helpers.DATASET, "the process of run-1 was killed")
    assert record(connection, worker.batch.id)["status"] == "syncing"
    with Tracker(settings, run_id="run-2") as late:
        late.mark_batch_not_run("batch-1", helpers.DATASET, "the process of run-2 was killed")
    assert record(connection, worker.batch.id)["failed_count"] == len(DAYS)


def test_days_that_fail_in_the_run_that_retries_a_batch_are_not_retried_by_the_same_request(
    worker: Worker,
) -> None:
    assert worker.batch is not None
    worker.break_at(START)
    replace(worker, run_id="run-2").break_at(DAYS[1])
    new = BatchSpec("batch-1", helpers.DATASET, DAYS, "run-2", "a test")
    with transaction(worker.url) as cursor:
        # The requesting host's clock may be ahead of the database's.
        before = clock(cursor) + timedelta(seconds=60)
        batches.retry_days(cursor, worker.batch.id, new, DAYS, before, except_runs=["run-2"])
        states_by_day = batches.day_states(cursor, "batch-1", helpers.DATASET)
    assert [states_by_day[day].value for day in DAYS[:2]] == ["pending", "failed"]


def test_no_day_of_a_cancelled_batch_is_started_until_the_batch_is_retried(
    worker: Worker, connection: "Connection"
) -> None:
    assert worker.batch is not None
    with transaction(worker.url) as cursor:
        requests.cancel_pending(cursor, worker.batch.id, "cancelled by ann", cancelled_by="ann")
    with pytest.raises(BatchCancelledError, match="cancelled by ann"):
        worker.begin(START)
    assert states(connection) == [(None, "failed", True)]
    new = BatchSpec("batch-1", helpers.DATASET, DAYS, "run-2", "a test")
    with transaction(worker.url) as cursor:
        batches.retry_days(cursor, worker.batch.id, new, DAYS, clock(cursor))
    assert worker.begin(START).number == 1


def test_days_that_another_batch_has_synced_meanwhile_do_not_keep_a_partly_retried_batch_failed(
    worker: Worker, connection: "Connection"
) -> None:
    assert worker.batch is not None
    Worker(worker.url, open_batch(worker.url, DAYS, "another")).sync(*DAYS[2:])
    worker.mark_not_run("run-1 was killed")
    new = BatchSpec("batch-1", helpers.DATASET, DAYS, "run-2", "a test")
    with transaction(worker.url) as cursor:
        batches.retry_days(cursor, worker.batch.id, new, DAYS[:2], clock(cursor))
    replace(worker, run_id="run-2").sync(*DAYS[:2])
    closed = record(connection, worker.batch.id)
    assert (closed["status"], closed["success_count"], closed["skipped_count"]) == ("success", 2, 2)


def test_days_that_were_synced_before_the_batch_was_requested_remain_not_run(
    database_url: str, connection: "Connection"
) -> None:
    Worker(database_url).sync(*DAYS[2:])
    worker = Worker(database_url, open_batch(database_url, DAYS))
    assert worker.batch is not None
    worker.mark_not_run("run-1 was killed")
    new = BatchSpec("batch-1", helpers.DATASET, DAYS, "run-2", "a test")
    with transaction(database_url) as cursor:
        batches.retry_days(cursor, worker.batch.id, new, DAYS[:2], clock(cursor))
    replace(worker, run_id="run-2").sync(*DAYS[:2])
    closed = record(connection, worker.batch.id)
    assert (closed["status"], closed["success_count"], closed["failed_count"]) == ("failed", 2, 2)
