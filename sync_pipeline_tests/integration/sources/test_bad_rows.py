"""A day with bad rows fails, unless its bad rows are quarantined and the others loaded."""

import threading
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from sync_pipeline import targets
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration

MODULE = "sync_pipeline_tests.integration.sources.test_bad_rows"
COLUMNS = {"id": "bigint", "amount": "numeric(6,2)", "note": "text"}
QUARANTINE = {"table": "landed", "on_bad_row": "quarantine"}
BAD = (3, 1200, 2499)


def many(day: date) -> Iterator[dict[str, Any]]:
    """Yield 2,500 rows; in three of them, the amount is too large or is not a number."""
    for number in range(1, 2501):
        amount = {3: "3,50", 1200: "99999.99", 2499: ""}.get(number, "1.50")
        yield {"id": number, "amount": amount, "note": None if number % 2 else "a\t\\N\nb"}


def pausing(day: date) -> Iterator[dict[str, Any]]:
    """Yield a bad row, pause for longer than a transaction may be idle, and yield a good row."""
    yield {"id": 1, "amount": "none"}
    PAUSE.wait(2.5)
    yield {"id": 2, "amount": "1"}


def with_nul(day: date) -> Iterator[dict[str, Any]]:
    yield {"id": 1, "note": "good"}
    yield {"id": 2, "note": "bad\0"}


def with_an_expensive_row(day: date) -> Iterator[dict[str, Any]]:
    yield {"id": 9, "amount": "1.00"}
    yield {"id": 5, "amount": "3.00"}


def corrected(day: date) -> Iterator[dict[str, Any]]:
    yield {"id": 1, "amount": "1.00"}


PAUSE = threading.Event()


def keys(function: str = "many") -> dict[str, Any]:
    return {"type": "python", "function": f"{MODULE}:{function}", "columns": COLUMNS}


def only(results: list[DayResult]) -> DayResult:
    (result,) = results
    return result


def quarantined_rows(syncing: Syncing) -> list[tuple[Any, ...]]:
    return syncing.rows(
        "SELECT row_number, row_values->>'id', row_values->>'amount', row_values->>'note', error "
        "FROM sync_rejected_row ORDER BY id"
    )


def day_record(syncing: Syncing, *columns: str) -> tuple[Any, ...]:
    (found,) = syncing.rows(
        f"SELECT {', '.join(columns)} FROM daily_sync_status WHERE kind = 'day'"
    )
    return found


COUNTS = ("status", "total_records", "success_count", "failed_count")


def test_a_bad_row_fails_its_day_and_the_error_shows_its_column_and_value(syncing: Syncing) -> None:
    done = only(syncing.sync(keys()))
    assert done.outcome is Outcome.FAILED
    assert 'invalid input syntax for type numeric: "3,50"' in (done.error or "")
    assert 'row 3 of the day, column amount: "3,50"' in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]


def test_bad_rows_are_quarantined_with_their_error_and_the_others_are_loaded(
    syncing: Syncing,
) -> None:
    done = only(syncing.sync(keys(), target=QUARANTINE))
    assert done.outcome is Outcome.SUCCESS
    assert day_record(syncing, *COUNTS) == ("success", 2500, 2497, 3)
    assert day_record(syncing, "remarks") == (
        "单日同步完成: 2025-10-01, 读取2500行, 写入2497行, 拒绝3行",
    )
    assert quarantined_rows(syncing) == [
        (3, "3", "3,50", None, 'invalid input syntax for type numeric: "3,50"'),
        (
            1200,
            "1200",
            "99999.99",
            "a\t\\N\nb",
            "numeric field overflow: A field with precision 6, scale 2 must round to an absolute "
            "value less than 10^4.",
        ),
        (2499, "2499", "", None, 'invalid input syntax for type numeric: ""'),
    ]
    loaded = syncing.rows("SELECT count(*), count(note), min(note) FROM landed")
    assert loaded == [(2497, 1249, "a\t\\N\nb")]


def test_resyncing_a_day_deletes_its_quarantined_rows(syncing: Syncing) -> None:
    syncing.sync(keys(), [DAY, NEXT_DAY], target=QUARANTINE)
    syncing.sync(keys("corrected"), [DAY])
    assert syncing.rows("SELECT sync_date, count(*) FROM sync_rejected_row GROUP BY 1") == [
        (NEXT_DAY, 3)
    ]


def test_a_day_with_too_many_bad_rows_fails_and_quarantines_none(syncing: Syncing) -> None:
    done = only(syncing.sync(keys(), target=QUARANTINE | {"max_rejected_rows": 2}))
    assert done.outcome is Outcome.FAILED
    assert "landed rejected more than 2 rows of 2025-10-01" in (done.error or "")
    assert "row 2499: invalid input syntax" in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]
    assert quarantined_rows(syncing) == []


def test_a_row_that_violates_a_constraint_is_quarantined(
    syncing: Syncing,
) -> None:
    helpers.run(
        syncing.url,
        "CREATE TABLE landed (id bigint PRIMARY KEY, amount numeric(6,2) CHECK (amount < 2), "
        "note text, sync_date date)",
        "INSERT INTO landed VALUES (7, 1, NULL, '2025-09-30')",
    )
    done = only(syncing.sync(keys(), target=QUARANTINE))
    assert done.outcome is Outcome.SUCCESS
    assert [(row[0], row[4].partition(":")[0]) for row in quarantined_rows(syncing)] == [
        (3, "invalid input syntax for type numeric"),
        (7, 'duplicate key value violates unique constraint "landed_pkey"'),
        (1200, "numeric field overflow"),
        (2499, "invalid input syntax for type numeric"),
    ]


def test_text_with_a_nul_character_is_quarantined_unchanged(syncing: Syncing) -> None:
    done = only(syncing.sync(keys("with_nul"), target=QUARANTINE))
    assert done.outcome is Outcome.SUCCESS
    ((values, error),) = syncing.rows("SELECT row_values::text, error FROM sync_rejected_row")
    assert "bad\\u0000" in values
    assert error == 'invalid byte sequence for encoding "UTF8": 0x00'


def test_bad_rows_from_a_source_that_pauses_are_quarantined(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "IDLE_SECONDS", 1)
    done = only(syncing.sync(keys("pausing"), target=QUARANTINE))
    assert done.outcome is Outcome.SUCCESS, done.error
    assert day_record(syncing, *COUNTS) == ("success", 2, 1, 1)


def test_the_error_shows_the_number_and_the_key_of_a_bad_row(syncing: Syncing) -> None:
    helpers.run(
        syncing.url,
        "CREATE TABLE landed (id bigint PRIMARY KEY, amount numeric(6,2) CHECK (amount < 2),"
        " note text, sync_date date)",
    )
    upsert = {"table": "landed", "write": "upsert", "key": ["id"]}
    done = only(syncing.sync(keys("with_an_expensive_row"), target=upsert))
    assert "cannot load row 2 (id '5') into the target table landed: new row" in (done.error or "")
    assert 'violates check constraint "landed_amount_check"' in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]


def test_bad_rows_from_a_postgresql_source_are_quarantined(
    syncing: Syncing, source_url: str
) -> None:
    helpers.run(
        source_url,
        "CREATE TABLE orders AS SELECT n AS id, date '2025-10-01' AS day, n * 10 AS amount "
        "FROM generate_series(1, 20) n",
    )
    helpers.run(
        syncing.url, "CREATE TABLE landed (id int, day date, amount int CHECK (amount <> 70))"
    )
    syncing.settings["SYNC_SOURCE_URL"] = source_url
    source = {"url_env": "SYNC_SOURCE_URL", "table": "orders", "day_column": "day"}
    syncing.sync(source, target=QUARANTINE)
    assert day_record(syncing, *COUNTS) == ("success", 20, 19, 1)
    ((values, error),) = syncing.rows("SELECT row_values, error FROM sync_rejected_row")
    assert values == {"id": "7", "day": "2025-10-01", "amount": "70"}
    assert "violates check constraint" in error


def test_a_quarantined_row_records_its_dataset_day_and_run(syncing: Syncing) -> None:
    syncing.sync(keys(), target=QUARANTINE)
    assert syncing.rows(
        "SELECT DISTINCT dataset, sync_date, batch_id, run_id FROM sync_rejected_row"
    ) == [("landed", DAY, None, "run-1")]
