"""After a stop, the nightly run also syncs the days of the runs that were missed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest

from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.asset import build_asset
from sync_pipeline.orchestration.schedule import build_schedule
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.state import attempts, batches
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import Pipeline, run, transaction

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),  # in beta
]

DAYS = helpers.days(12)
SCHEDULE = "schedule orders_nightly"


@pytest.fixture(autouse=True)
def settings(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_DATABASE_URL", pipeline.target)
    monkeypatch.delenv("SYNC_TRACKING_URL", raising=False)


def record(
    pipeline: Pipeline,
    *synced: date,
    triggered_by: str = SCHEDULE,
    batch_id: int | None = None,
    error: str | None = None,
) -> None:
    """Record that these days were synced, or failed with `error`."""
    for day in synced:
        with transaction(pipeline.target) as cursor:
            attempt = attempts.begin(
                cursor,
                helpers.DATASET,
                day,
                batch_id=batch_id,
                run_id="run",
                triggered_by=triggered_by,
            )
            outcome = helpers.outcome_of(attempt, error=error, run_id="run")
            outcome = replace(outcome, triggered_by=triggered_by)
            attempts.record_outcome(cursor, outcome, batch_id)


def night(pipeline: Pipeline, last: date, at: datetime | None = None, **schedule: Any) -> Any:
    """Return what the schedule requests in the night after `last`: a day range or a reason."""
    return requests(pipeline, last, at, **schedule)[0]


def requests(
    pipeline: Pipeline,
    last: date,
    at: datetime | None = None,
    *,
    end: date | None = None,
    instance: dg.DagsterInstance | None = None,
    **schedule: Any,
) -> list[Any]:
    """Return everything that it requests."""
    given = {"at": "02:00"} | schedule
    dataset = pipeline.dataset(schedule=given, end_date=end)
    assert dataset.schedule is not None
    job = dg.define_asset_job("orders_daily_sync", selection=[build_asset(dataset)])
    nightly = build_schedule(dataset, dataset.schedule, job)
    ticked = at or datetime(last.year, last.month, last.day, 2, tzinfo=timezone.utc) + timedelta(1)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=ticked)
    found = nightly(context)
    return [_range_of(one) for one in (found if isinstance(found, list) else [found])]


def _range_of(request: Any) -> Any:
    if isinstance(request, dg.SkipReason):
        return request.skip_message
    assert isinstance(request, dg.RunRequest)
    if request.partition_key is not None:
        return request.partition_key, request.partition_key
    return request.tags[tags.RANGE_START_TAG], request.tags[tags.RANGE_END_TAG]


def texts(*of: date) -> tuple[str, ...]:
    return tuple(map(str, of))


def corrections(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return run(pipeline.target, "SELECT what, why, dataset FROM sync_correction")


def test_all_missed_days_are_requested_as_one_range(pipeline: Pipeline) -> None:
    record(pipeline, *DAYS[:3])
    assert night(pipeline, DAYS[7]) == texts(DAYS[3], DAYS[7])
    assert corrections(pipeline) == []


@pytest.mark.parametrize("catch_up", ["last", "none"])
def test_what_is_not_made_up_for_is_recorded(pipeline: Pipeline, catch_up: str) -> None:
    record(pipeline, *DAYS[:3])
    # `none` concerns a tick that is late; this one is on time.
    at = datetime.now(timezone.utc)
    last = at.date() - timedelta(days=1)
    assert night(pipeline, last, at, catch_up=catch_up, look_back_days=1) == texts(
        last - timedelta(days=1), last
    )
    ((what, why, dataset),) = corrections(pipeline)
    until = last - timedelta(days=2)
    assert what == f"unsynced days from {DAYS[3]} to {until} not requested"
    assert why.endswith(f"catch_up is {catch_up}, catch_up_days 31")
    assert dataset == "orders"


def test_it_goes_back_a_limited_number_of_days(pipeline: Pipeline) -> None:
    record(pipeline, DAYS[0])
    assert night(pipeline, DAYS[9], catch_up_days=4) == texts(DAYS[6], DAYS[9])
    ((what, *_),) = corrections(pipeline)
    assert what == f"unsynced days from {DAYS[1]} to {DAYS[5]} not requested"


def test_days_that_were_synced_in_another_way_are_not_missed(pipeline: Pipeline) -> None:
    record(pipeline, *DAYS[:2])
    record(pipeline, *DAYS[2:5], triggered_by="someone")
    assert night(pipeline, DAYS[5]) == texts(DAYS[5], DAYS[5])
    assert night(pipeline, DAYS[7]) == texts(DAYS[5], DAYS[7])


def test_the_first_night_of_a_dataset_requests_the_last_day_only(pipeline: Pipeline) -> None:
    record(pipeline, DAYS[0], triggered_by="someone")
    assert night(pipeline, DAYS[5]) == texts(DAYS[5], DAYS[5])


def test_with_none_a_late_run_waits_for_the_next_night(pipeline: Pipeline) -> None:
    record(pipeline, DAYS[0])
    assert "catch_up is none" in night(pipeline, DAYS[5], catch_up="none")


def test_the_night_is_requested_even_if_the_records_are_unavailable(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    run(pipeline.target, "ALTER TABLE sync_attempt RENAME TO moved")
    assert night(pipeline, DAYS[5]) == texts(DAYS[5], DAYS[5])
    assert "schedule orders_nightly: cannot find missed days" in caplog.text


class TestRetryTick:
    """Dagster makes up for the last missed tick only, which may be one for a retry."""

    RETRIES: ClassVar[dict[str, Any]] = {"retry_every_minutes": 60, "retry_until": "08:00"}

    @pytest.fixture
    def instance(self, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
            yield made

    def at(self, last: date) -> datetime:
        return datetime(last.year, last.month, last.day, 8, tzinfo=timezone.utc) + timedelta(1)

    def test_it_makes_up_for_the_missed_nightly_runs(
        self, pipeline: Pipeline, instance: dg.DagsterInstance
    ) -> None:
        record(pipeline, *DAYS[:3])
        found = requests(pipeline, DAYS[7], self.at(DAYS[7]), instance=instance, **self.RETRIES)
        assert found == [texts(DAYS[3], DAYS[7])]

    def test_with_none_it_waits_for_the_next_night(
        self, pipeline: Pipeline, instance: dg.DagsterInstance
    ) -> None:
        record(pipeline, *DAYS[:3])
        (reason,) = requests(
            pipeline, DAYS[7], self.at(DAYS[7]), instance=instance, catch_up="none", **self.RETRIES
        )
        assert "catch_up is none" in reason

    def test_it_retries_failed_days_of_the_whole_batch(
        self, pipeline: Pipeline, instance: dg.DagsterInstance
    ) -> None:
        with transaction(pipeline.target) as cursor:
            spec = BatchSpec("night", helpers.DATASET, DAYS[3:8], "run", SCHEDULE)
            batch_id = batches.open_batch(cursor, spec)
        for day in DAYS[3:8]:
            ok = day != DAYS[4]
            record(pipeline, day, batch_id=batch_id, error=None if ok else "not ready")
        found = requests(pipeline, DAYS[7], self.at(DAYS[7]), instance=instance, **self.RETRIES)
        assert found == [texts(DAYS[4], DAYS[4])]


def test_days_until_a_passed_end_date_are_made_up_for(pipeline: Pipeline) -> None:
    record(pipeline, *DAYS[:3])
    at = datetime(2025, 10, 12, 2, tzinfo=timezone.utc)
    assert requests(pipeline, DAYS[6], at, end=DAYS[6]) == [texts(DAYS[3], DAYS[6])]
    requests(pipeline, DAYS[6], at, end=DAYS[6], catch_up="last")
    ((what, *_),) = corrections(pipeline)
    assert what == f"unsynced days from {DAYS[3]} to {DAYS[6]} not requested"
    record(pipeline, *DAYS[3:7])
    (reason,) = requests(pipeline, DAYS[6], at, end=DAYS[6])
    assert reason.startswith("orders has no day to sync")


def test_what_is_not_made_up_for_is_recorded_once(pipeline: Pipeline) -> None:
    record(pipeline, *DAYS[:3])
    for _ in range(2):
        night(pipeline, DAYS[7], catch_up="last")
    assert len(corrections(pipeline)) == 1
