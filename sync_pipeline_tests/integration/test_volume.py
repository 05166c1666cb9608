"""A day with unusually few rows is reported, or fails and keeps its rows."""

from typing import TYPE_CHECKING, Any

import pytest

from sync_pipeline.sync.days import Outcome
from sync_pipeline.sync.volume import VolumeCheck
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    ROWS_PER_DAY,
    START,
    Pipeline,
    day_record,
    run,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(12)


def shrink(pipeline: Pipeline, rows: int, days: str = "true") -> None:
    """Keep only the first `rows` rows of each of these days at the source."""
    run(pipeline.source, f"DELETE FROM orders WHERE id % {ROWS_PER_DAY} >= {rows} AND {days}")


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("rows", [0, 1])
def test_if_all_days_have_shrunk_each_is_compared_with_what_it_replaces(
    pipeline: Pipeline, connection: "Connection", rows: int, parallel: int
) -> None:
    assert {result.warning for result in pipeline.sync(DAYS)} == {None}
    shrink(pipeline, rows)
    results = pipeline.sync(DAYS, parallel_days=parallel)
    assert [result.day for result in results if result.warning is None] == []
    first = day_record(connection, START)
    assert (first["status"], first["warning"]) == ("success", f"{rows} rows, previously 10")
    later = day_record(connection, DAYS[10])  # the message names the stronger evidence
    assert later["warning"] == f"{rows} rows, typically 10"


def test_a_new_day_is_compared_with_the_days_before_it(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    pipeline.sync(DAYS[:11])
    shrink(pipeline, 1, f"day = '{DAYS[11]}'")
    (result,) = pipeline.sync(DAYS[11:])
    assert result.warning == "1 rows, typically 10"
    assert day_record(connection, DAYS[11])["warning"] == "1 rows, typically 10"
    (again,) = pipeline.sync(DAYS[11:], volume={"warn_below": 0})
    assert again.warning is None
    assert day_record(connection, DAYS[11])["warning"] is None


def test_days_loaded_by_the_same_run_count_if_they_were_never_loaded_before(
    pipeline: Pipeline,
) -> None:
    shrink(pipeline, 1, f"day = '{DAYS[9]}'")
    results = pipeline.sync(DAYS)
    assert {r.day: r.warning for r in results if r.warning} == {DAYS[9]: "1 rows, typically 10"}


@pytest.mark.parametrize("target", [{}, {"write": "upsert", "key": ["id"]}])
def test_with_fail_below_the_day_fails_and_keeps_its_rows(
    pipeline: Pipeline, connection: "Connection", target: dict[str, Any]
) -> None:
    volume = {"fail_below": 0.5}
    pipeline.sync(DAYS, volume=volume, target=target)
    shrink(pipeline, 4, f"day = '{DAYS[3]}'")
    shrink(pipeline, 5, f"day = '{DAYS[4]}'")
    results = pipeline.sync(DAYS, volume=volume, target=target)
    (failed,) = [result for result in results if result.outcome is Outcome.FAILED]
    assert failed.day == DAYS[3]
    assert failed.error == (
        f"dataset orders: the source has 4 rows for {DAYS[3]}, previously 10, which is less than "
        "volume.fail_below (0.5) allows; the existing rows were kept. If this is right, lower "
        "fail_below and sync the day again"
    )
    assert pipeline.loaded()[DAYS[3]] == 10
    assert day_record(connection, DAYS[3])["standing_rows"] == 10


def test_with_on_empty_fail_an_empty_day_fails_and_keeps_its_rows(pipeline: Pipeline) -> None:
    pipeline.sync(DAYS)
    shrink(pipeline, 0, f"day = '{DAYS[3]}'")
    (failed,) = pipeline.sync([DAYS[3]], on_empty="fail", volume={"warn_below": 0})
    assert failed.error == (
        f"dataset orders: the source has no rows for {DAYS[3]}, and on_empty is fail; the existing "
        "rows were kept. If the day is really empty, set on_empty: accept"
    )
    assert pipeline.loaded()[DAYS[3]] == 10
    (accepted,) = pipeline.sync([DAYS[3]])
    assert (accepted.outcome, accepted.warning) == (Outcome.SUCCESS, "0 rows, previously 10")


def test_a_day_that_cannot_be_compared_is_synced_and_says_so(pipeline: Pipeline) -> None:
    pipeline.sync(DAYS)
    shrink(pipeline, 1)
    run(pipeline.target, "ALTER TABLE daily_sync_status RENAME TO moved")
    (result,) = pipeline.sync([START])
    reason = "not compared with other days: the records were unavailable"
    assert (result.outcome, result.warning) == (Outcome.SUCCESS, reason)


def test_large_row_counts_are_written_in_full() -> None:
    dataset = Pipeline("", "").dataset()
    check = VolumeCheck(dataset)
    check.set_baseline({START: 1_234_567})
    assert check.check(START, 1_000) == "1,000 rows, previously 1,234,567"
