"""A replay loads quarantined rows into their days and updates the records."""

from collections.abc import Callable
from typing import Any

import pytest

from sync_pipeline.settings import Settings
from sync_pipeline.sync.replay import ReplayResult, replay
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing
from sync_pipeline_tests.integration.sources.test_bad_rows import (
    COUNTS,
    QUARANTINE,
    day_record,
    keys,
    quarantined_rows,
)

pytestmark = pytest.mark.integration


def run_replay(syncing: Syncing, target: dict[str, Any]) -> list[ReplayResult]:
    dataset = syncing.dataset(keys(), target=target)
    settings = Settings({"SYNC_DATABASE_URL": syncing.url, **syncing.settings})
    with Tracker(settings, triggered_by="replay") as tracker:
        return list(replay(dataset, settings, tracker))


def test_quarantined_rows_are_loaded_after_they_are_fixed(syncing: Syncing) -> None:
    syncing.sync(keys(), target=QUARANTINE)
    helpers.run(
        syncing.url,
        'UPDATE sync_rejected_row SET row_values = \'{"id": "3", "amount": "3.50", '
        '"note": "by hand", "sync_date": "2025-10-01"}\' WHERE row_number = 3',
        "ALTER TABLE landed ALTER amount TYPE numeric(9,2)",
    )
    assert run_replay(syncing, QUARANTINE) == [
        ReplayResult(DAY, 2, 1, 'row 2499: invalid input syntax for type numeric: ""')
    ]
    assert syncing.rows("SELECT id, amount::text FROM landed WHERE id IN (3, 1200) ORDER BY 1") == [
        (3, "3.50"),
        (1200, "99999.99"),
    ]
    assert day_record(syncing, *COUNTS) == ("success", 2500, 2499, 1)
    assert "写入2499行, 拒绝1行" in day_record(syncing, "remarks")[0]
    assert syncing.rows("SELECT rows_loaded, rows_rejected FROM sync_attempt") == [(2499, 1)]
    assert [row[0] for row in quarantined_rows(syncing)] == [2499]


def test_a_replay_is_recorded_in_a_separate_tracking_database(
    syncing: Syncing, make_database: Callable[[str | None], str], migrated_template: str
) -> None:
    syncing.settings["SYNC_TRACKING_URL"] = make_database(migrated_template)
    syncing.sync(keys(), target=QUARANTINE)
    helpers.run(syncing.url, "ALTER TABLE landed ALTER amount TYPE text")
    assert run_replay(syncing, QUARANTINE) == [ReplayResult(DAY, 3, 0, None)]
    assert helpers.run(
        syncing.settings["SYNC_TRACKING_URL"],
        "SELECT success_count, failed_count FROM daily_sync_status",
    ) == [(2500, 0)]


def fix_row(syncing: Syncing, number: int, values: str) -> None:
    helpers.run(
        syncing.url,
        f"UPDATE sync_rejected_row SET row_values = '{values}' WHERE row_number = {number}",
    )


def test_a_row_from_another_day_is_not_replayed_and_the_error_shows_its_day(
    syncing: Syncing,
) -> None:
    syncing.sync(keys(), [DAY, NEXT_DAY], target=QUARANTINE)
    helpers.run(syncing.url, "DELETE FROM sync_rejected_row WHERE row_number <> 3")
    row = '{"id": "3", "amount": "3.50", "note": null'
    fix_row(syncing, 3, f'{row}, "sync_date": "2025-10-02"}}')
    message = (
        "row 3: its day_column 'sync_date' falls on 2025-10-02, but the row was quarantined for "
        "2025-10-01; correct it and replay it, or correct the source and sync the days"
    )
    assert run_replay(syncing, QUARANTINE) == [
        ReplayResult(DAY, 0, 1, message),
        ReplayResult(NEXT_DAY, 1, 0, None),
    ]
    fix_row(syncing, 3, f"{row}}}")
    (only_day,) = run_replay(syncing, QUARANTINE)
    assert "its day_column 'sync_date' is empty" in (only_day.error or "")
    found = syncing.rows("SELECT sync_date, count(*) FROM landed GROUP BY 1 ORDER BY 1")
    assert found == [(DAY, 2497), (NEXT_DAY, 2498)]


def test_the_day_of_a_replayed_row_depends_on_the_datasets_time_zone(
    syncing: Syncing, source_url: str
) -> None:
    helpers.run(
        source_url,
        "CREATE TABLE orders AS SELECT n AS id, timestamptz '2025-10-01 12:00+08' AS at "
        "FROM generate_series(1, 3) n",
    )
    helpers.run(syncing.url, "CREATE TABLE landed (id int CHECK (id > 2), at timestamptz)")
    syncing.settings["SYNC_SOURCE_URL"] = source_url
    source = {"url_env": "SYNC_SOURCE_URL", "table": "orders", "day_column": "at"}
    zone: dict[str, Any] = {"timezone": "Asia/Shanghai", "target": QUARANTINE}
    syncing.sync(source, **zone)
    fix_row(syncing, 1, '{"id": "7", "at": "2025-09-30 16:00:00+00"}')
    fix_row(syncing, 2, '{"id": "8", "at": "2025-10-01 16:00:00+00"}')
    settings = Settings({"SYNC_DATABASE_URL": syncing.url})
    with Tracker(settings, triggered_by="replay") as tracker:
        (done,) = replay(syncing.dataset(source, **zone), settings, tracker)
    assert (done.loaded, done.kept) == (1, 1)
    assert "falls on 2025-10-02" in (done.error or "")
    assert syncing.rows("SELECT id FROM landed ORDER BY id") == [(3,), (7,)]


def test_rows_of_a_day_that_failed_since_are_replayed_because_its_rows_remain(
    syncing: Syncing,
) -> None:
    syncing.sync(keys(), target=QUARANTINE)
    syncing.sync(keys(), target=QUARANTINE | {"max_rejected_rows": 1})
    assert day_record(syncing, "status", "standing_rows") == ("failed", 2497)
    helpers.run(syncing.url, "ALTER TABLE landed ALTER amount TYPE text")
    (done,) = run_replay(syncing, QUARANTINE)
    assert (done.loaded, done.kept) == (3, 0)
    assert syncing.rows("SELECT count(*) FROM landed") == [(2500,)]
    assert day_record(syncing, "status", "standing_rows") == ("failed", 2500)
    assert syncing.rows(
        "SELECT state, rows_loaded, rows_rejected FROM sync_attempt ORDER BY attempt"
    ) == [("success", 2500, 0), ("failed", 0, 0)]


def test_rows_of_a_day_without_rows_in_the_target_are_not_replayed(syncing: Syncing) -> None:
    syncing.sync(keys(), target=QUARANTINE)
    lost = "status = 'failed', error_message = 'x', standing_rows = NULL, standing_since = NULL"
    helpers.run(syncing.url, f"UPDATE daily_sync_status SET {lost}")
    helpers.run(syncing.url, "ALTER TABLE landed ALTER amount TYPE text")
    (done,) = run_replay(syncing, QUARANTINE)
    assert (done.loaded, done.kept) == (0, 3)
    assert "the day has no rows in the target" in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(2497,)]


@pytest.mark.parametrize("values", ["[1, 2]", "{}", "7", "null", '"text"'])
def test_a_quarantined_row_that_is_not_an_object_is_kept_and_the_others_are_loaded(
    syncing: Syncing, values: str
) -> None:
    syncing.sync(keys(), target=QUARANTINE)
    fix_row(syncing, 3, values)
    helpers.run(syncing.url, "ALTER TABLE landed ALTER amount TYPE text")
    (done,) = run_replay(syncing, QUARANTINE)
    assert (done.loaded, done.kept) == (2, 1)
    assert "row 3: its row_values are not a JSON object of values by column" in (done.error or "")
    assert day_record(syncing, *COUNTS) == ("success", 2500, 2499, 1)


def test_numbers_in_a_fixed_row_keep_every_digit(syncing: Syncing) -> None:
    syncing.sync(keys(), target=QUARANTINE)
    helpers.run(syncing.url, "ALTER TABLE landed ALTER amount TYPE numeric")
    fix_row(
        syncing,
        3,
        '{"id": 3, "amount": 3.12345678901234567890, "note": true, "sync_date": "2025-10-01"}',
    )
    (done,) = run_replay(syncing, QUARANTINE)
    assert done.loaded == 2
    assert syncing.rows("SELECT id, amount::text, note FROM landed WHERE id = 3") == [
        (3, "3.12345678901234567890", "true")
    ]


def test_a_replay_recorded_late_does_not_change_a_later_sync(syncing: Syncing) -> None:
    syncing.sync(keys(), target=QUARANTINE)
    settings = Settings({"SYNC_DATABASE_URL": syncing.url})
    with Tracker(settings, triggered_by="replay") as tracker:
        before = tracker.synced_days("landed", [DAY])[DAY]
        syncing.sync(keys(), target=QUARANTINE)
        tracker.record_replay("landed", before, 0)
    assert day_record(syncing, *COUNTS) == ("success", 2500, 2497, 3)
