"""If the source is not ready, the day fails, and the schedule retries it."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.asset import build_asset
from sync_pipeline.orchestration.schedule import build_schedule
from sync_pipeline.sync.days import Outcome
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.state import batches
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import Pipeline, Worker, open_batch, run, transaction

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),  # in beta
]

DAYS = helpers.days(3)
READY = "SELECT ready FROM loads WHERE day = %(day)s"


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Pipeline:
    run(pipeline.source, "CREATE TABLE loads (day date, ready boolean)")
    return pipeline


def source(**more: Any) -> dict[str, Any]:
    table = {"url_env": "SYNC_SOURCE_URL", "table": "orders_source", "day_column": "day"}
    return table | {"ready_query": READY} | more


def test_a_day_that_is_not_ready_fails_and_keeps_its_rows(pipeline: Pipeline) -> None:
    day = DAYS[0]
    run(pipeline.source, f"INSERT INTO loads VALUES ('{day}', true)")
    assert pipeline.sync([day], source=source())[0].outcome is Outcome.SUCCESS
    for state, result in (("false", "returned False"), ("NULL", "returned None")):
        run(pipeline.source, f"UPDATE loads SET ready = {state}; DELETE FROM orders")
        (done,) = pipeline.sync([day], source=source())
        assert done.outcome is Outcome.FAILED
        assert f"the source is not ready for {day}: ready_query {result}" in (done.error or "")
    run(pipeline.source, "DELETE FROM loads")
    (done,) = pipeline.sync([day], source=source())
    assert "ready_query returned no row" in (done.error or "")
    assert pipeline.loaded() == {day: 10}


def test_a_ready_source_without_rows_clears_the_day(pipeline: Pipeline) -> None:
    day = DAYS[0]
    run(pipeline.source, f"INSERT INTO loads VALUES ('{day}', true)")
    pipeline.sync([day], source=source())
    run(pipeline.source, "DELETE FROM orders")
    (done,) = pipeline.sync([day], source=source())
    assert done.outcome is Outcome.SUCCESS
    assert pipeline.loaded() == {}


def test_the_error_explains_an_invalid_ready_query(pipeline: Pipeline) -> None:
    (done,) = pipeline.sync(DAYS[:1], source=source(ready_query="SELEC 1"))
    error = f"dataset orders: ready_query failed for {DAYS[0]}: syntax error at or near"
    assert (done.error or "").startswith(error)
    (done,) = pipeline.sync(DAYS[:1], source=source(ready_query="SELECT 'x' LIKE '%x'"))
    assert "%(day)s is the only parameter allowed in ready_query; write any other % as %%" in (
        done.error or ""
    )


def requested_by_schedule(
    pipeline: Pipeline, instance: dg.DagsterInstance, hour: int, look_back_days: int
) -> Any:
    """Return what the schedule requests at `hour` on the day after the last day in DAYS."""
    times = {"at": "02:00", "retry_every_minutes": 60, "retry_until": "06:00"}
    dataset = pipeline.dataset(schedule={**times, "look_back_days": look_back_days})
    assert dataset.schedule is not None
    job = dg.define_asset_job("orders_daily_sync", selection=[build_asset(dataset)])
    schedule = build_schedule(dataset, dataset.schedule, job)
    night = DAYS[-1] + timedelta(days=1)
    at = datetime(night.year, night.month, night.day, hour, tzinfo=timezone.utc)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
    return schedule(context)


def end(pipeline: Pipeline, batch: Any, day: date, error: str | None = None) -> None:
    worker = Worker(pipeline.target, batch)
    attempt = worker.begin(day)
    if error is None:
        worker.succeed(attempt)
    else:
        worker.fail(attempt, error)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


@pytest.fixture
def at_night(
    pipeline: Pipeline,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,
) -> Callable[[int, int], Any]:
    monkeypatch.setenv("SYNC_DATABASE_URL", pipeline.target)
    return lambda hour, look_back: requested_by_schedule(pipeline, instance, hour, look_back)


def test_a_day_with_a_queued_run_is_not_requested_again(
    at_night: Callable[[int, int], Any], instance: dg.DagsterInstance
) -> None:
    (request,) = at_night(3, 0)
    assert request.partition_key == str(DAYS[-1])
    instance.add_run(
        dg.DagsterRun(
            job_name=tags.job_name_of(helpers.DATASET),
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={"dagster/partition": str(DAYS[-1])},
        )
    )
    assert isinstance(at_night(3, 0), dg.SkipReason)


def test_only_failed_days_are_retried_in_their_batch(
    pipeline: Pipeline, at_night: Callable[[int, int], Any]
) -> None:
    batch = open_batch(pipeline.target, DAYS)
    assert isinstance(at_night(3, 2), dg.SkipReason)  # the batch is still running
    end(pipeline, batch, DAYS[0])
    end(pipeline, batch, DAYS[1], "not ready")
    end(pipeline, batch, DAYS[2], "not ready")
    (request,) = at_night(3, 2)
    assert request.tags == {
        tags.PRIORITY_TAG: "1",
        tags.BATCH_KEY_TAG: batch.batch_key,
        tags.RANGE_START_TAG: str(DAYS[1]),
        tags.RANGE_END_TAG: str(DAYS[2]),
    }
    (later,) = at_night(4, 2)
    assert later.run_key != request.run_key
    end(pipeline, batch, DAYS[1])
    (request,) = at_night(5, 2)
    assert request.partition_key == str(DAYS[2])
    end(pipeline, batch, DAYS[2])
    assert isinstance(at_night(6, 2), dg.SkipReason)


def test_a_retry_tick_requests_a_missed_day_but_not_a_synced_one(
    pipeline: Pipeline, at_night: Callable[[int, int], Any]
) -> None:
    (request,) = at_night(3, 0)
    assert request.partition_key == str(DAYS[-1])
    assert tags.BATCH_KEY_TAG not in request.tags
    end(pipeline, None, DAYS[-1])
    assert isinstance(at_night(3, 0), dg.SkipReason)
    assert at_night(2, 0).partition_key == str(DAYS[-1])


def test_a_retried_night_has_one_record(pipeline: Pipeline) -> None:
    run(pipeline.source, f"INSERT INTO loads VALUES ('{DAYS[0]}', true), ('{DAYS[1]}', true)")
    batch = open_batch(pipeline.target, DAYS)
    pipeline.sync(DAYS, batch, source=source())
    run(pipeline.source, f"INSERT INTO loads VALUES ('{DAYS[2]}', true)")
    with transaction(pipeline.target) as cursor:
        new = BatchSpec(batch.batch_key, batch.dataset, DAYS[2:], "run-2")
        batches.retry_days(
            cursor, batch.id, new, DAYS[2:], datetime.now(timezone.utc) + timedelta(minutes=1)
        )
    pipeline.sync(DAYS[2:], batch, source=source(), run_id="run-2")
    assert run(
        pipeline.target,
        "SELECT status, success_count, failed_count FROM daily_sync_status WHERE kind = 'batch'",
    ) == [("success", 3, 0)]
