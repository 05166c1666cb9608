"""The nightly schedule: which days it asks for, at which hour of which zone."""

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
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),  # beta, says Dagster
]


def nightly(at: datetime, look_back_days: int = 0, **changes: Any) -> Any:
    """What the schedule asks for at this moment."""
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


def ranges(asked: Any) -> tuple[str, str]:
    return asked.tags[tags.RANGE_START_TAG], asked.tags[tags.RANGE_END_TAG]


def test_it_asks_for_the_last_finished_day_of_the_datasets_own_zone() -> None:
    assert nightly(NIGHT).partition_key == "2025-10-10"


def test_it_looks_back_over_the_days_that_may_have_late_rows() -> None:
    assert ranges(nightly(NIGHT, look_back_days=3)) == ("2025-10-07", "2025-10-10")


def test_it_does_not_look_back_past_the_first_day() -> None:
    assert ranges(nightly(NIGHT, look_back_days=30)) == ("2025-10-01", "2025-10-10")


def test_it_goes_on_looking_back_after_the_last_day_and_then_stops() -> None:
    asked = nightly(NIGHT, end_date=date(2025, 10, 8), look_back_days=3)
    assert ranges(asked) == ("2025-10-07", "2025-10-08")
    asked = nightly(NIGHT, end_date=date(2025, 10, 5), look_back_days=3)
    assert isinstance(asked, dg.SkipReason)


def test_one_night_is_asked_for_once() -> None:
    assert nightly(NIGHT).run_key == nightly(NIGHT).run_key


def test_later_ticks_stand_between_the_night_and_the_time_they_end() -> None:
    ticks = Schedule(at="02:30", retry_every_minutes=45, retry_until="05:00").ticks()
    assert ticks == ["02:30", "03:15", "04:00", "04:45"]
    assert Schedule(at="02:30").ticks() == ["02:30"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"retry_every_minutes": 30}, "give both"),
        ({"retry_until": "05:00"}, "give both"),
        ({"retry_every_minutes": 30, "retry_until": "02:30"}, "must be later than at 02:30"),
    ],
)
def test_ticks_that_cannot_be_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Schedule(at="02:30", **given)


@pytest.mark.parametrize(
    ("at", "tick", "look_back"),
    [
        # On 2025-03-09 New York's clocks went from 02:00 to 03:00: Dagster comes at 03:00.
        ("02:30", datetime(2025, 3, 9, 7, 0, tzinfo=timezone.utc), ("2025-03-06", "2025-03-08")),
        ("02:30", datetime(2025, 3, 10, 6, 30, tzinfo=timezone.utc), ("2025-03-07", "2025-03-09")),
    ],
)
def test_a_night_without_its_hour_is_asked_for_all_the_same(
    at: str, tick: datetime, look_back: tuple[str, str]
) -> None:
    again = {"retry_every_minutes": 30, "retry_until": "05:00", "look_back_days": 2}
    dataset = Dataset.model_validate(
        {
            "name": "orders",
            "start_date": date(2025, 1, 1),
            "timezone": "America/New_York",
            "source": {"url_env": "SHOP_URL", "table": "orders", "day_column": "day"},
            "target": {"table": "orders"},
            "schedule": {"at": at, **again},
        }
    )
    assert dataset.schedule is not None
    job = dg.define_asset_job("orders_daily_sync", selection=[build_asset(dataset)])
    schedule = build_schedule(dataset, dataset.schedule, job)
    asked = schedule(dg.build_schedule_context(scheduled_execution_time=tick))
    assert ranges(asked) == look_back
