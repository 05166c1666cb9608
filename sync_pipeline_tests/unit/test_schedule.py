"""The nightly schedule: which days it requests, and at what time in the dataset's time zone."""

from datetime import date, datetime, timezone
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from sync_pipeline.config.dataset import Dataset, Schedule
from sync_pipeline.dagster_client import tags
from sync_pipeline.orchestration.asset import build_asset
from sync_pipeline.orchestration.schedule import build_schedule

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),  # in beta
]


def nightly(at: datetime, look_back_days: int = 0, **changes: Any) -> Any:
    """Return what the schedule requests at this time."""
    dataset = Dataset.model_validate(
        {
            "name": "orders",
            "start_date": date(2025, 10, 1),
            "timezone": "Asia/Shanghai",
            "source": {"url_env": "SHOP_URL", "table": "orders", "day_column": "day"},
            "target": {"table": "orders"},
            "schedule": {"at": "02:30", "look_back_days": look_back_days},
            **changes,
        }
    )
    assert dataset.schedule is not None
    job = dg.define_asset_job("orders_daily_sync", selection=[build_asset(dataset)])
    schedule = build_schedule(dataset, dataset.schedule, job)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 2 * * *", "Asia/Shanghai")
    return schedule(dg.build_schedule_context(scheduled_execution_time=at))


# 02:30 on 2025-10-11 in Shanghai, still 2025-10-10 in UTC.
NIGHT = datetime(2025, 10, 10, 18, 30, tzinfo=timezone.utc)


def range_of(request: Any) -> tuple[str, str]:
    return request.tags[tags.RANGE_START_TAG], request.tags[tags.RANGE_END_TAG]


def test_it_requests_the_last_finished_day_in_the_datasets_zone() -> None:
    assert nightly(NIGHT).partition_key == "2025-10-10"


@pytest.mark.parametrize("look_back_days", [0, 3])
def test_nightly_runs_are_dequeued_before_those_of_backfills(look_back_days: int) -> None:
    assert nightly(NIGHT, look_back_days=look_back_days).tags[tags.PRIORITY_TAG] == "1"


def test_it_also_requests_the_look_back_days() -> None:
    assert range_of(nightly(NIGHT, look_back_days=3)) == ("2025-10-07", "2025-10-10")


def test_look_back_days_do_not_go_before_the_first_day() -> None:
    assert range_of(nightly(NIGHT, look_back_days=30)) == ("2025-10-01", "2025-10-10")


def test_look_back_days_are_requested_until_they_are_all_after_the_last_day() -> None:
    request = nightly(NIGHT, end_date=date(2025, 10, 8), look_back_days=3)
    assert range_of(request) == ("2025-10-07", "2025-10-08")
    request = nightly(NIGHT, end_date=date(2025, 10, 5), look_back_days=3)
    assert isinstance(request, dg.SkipReason)


def test_the_same_night_is_requested_only_once() -> None:
    assert nightly(NIGHT).run_key == nightly(NIGHT).run_key


def test_retries_run_between_the_nightly_run_and_their_end_time() -> None:
    ticks = Schedule(at="02:30", retry_every_minutes=45, retry_until="05:00").ticks()
    assert ticks == ["02:30", "03:15", "04:00", "04:45"]
    assert Schedule(at="02:30").ticks() == ["02:30"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"retry_every_minutes": 30}, "give both"),
        ({"retry_until": "05:00"}, "give both"),
        ({"retry_every_minutes": 30, "retry_until": "02:30"}, r"must be later than 'at' \(02:30\)"),
    ],
)
def test_inconsistent_retry_times_are_rejected(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Schedule(at="02:30", **keys)


@pytest.mark.parametrize(
    ("at", "tick", "look_back"),
    [
        # On 2025-03-09, clocks in New York went from 02:00 to 03:00, so Dagster ticks at 03:00.
        ("02:30", datetime(2025, 3, 9, 7, 0, tzinfo=timezone.utc), ("2025-03-06", "2025-03-08")),
        ("02:30", datetime(2025, 3, 10, 6, 30, tzinfo=timezone.utc), ("2025-03-07", "2025-03-09")),
    ],
)
def test_a_night_is_requested_even_if_the_clocks_skip_its_time(
    at: str, tick: datetime, look_back: tuple[str, str]
) -> None:
    retries = {"retry_every_minutes": 30, "retry_until": "05:00", "look_back_days": 2}
    dataset = Dataset.model_validate(
        {
            "name": "orders",
            "start_date": date(2025, 1, 1),
            "timezone": "America/New_York",
            "source": {"url_env": "SHOP_URL", "table": "orders", "day_column": "day"},
            "target": {"table": "orders"},
            "schedule": {"at": at, **retries},
        }
    )
    assert dataset.schedule is not None
    job = dg.define_asset_job("orders_daily_sync", selection=[build_asset(dataset)])
    schedule = build_schedule(dataset, dataset.schedule, job)
    request = schedule(dg.build_schedule_context(scheduled_execution_time=tick))
    assert range_of(request) == look_back
