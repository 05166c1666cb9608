"""Rows from a user's generator function are loaded with the declared types."""

import io
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sync_pipeline.errors import NotReadyError, SettingError, SourceError
from sync_pipeline.settings import PROJECT_ROOT, Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.arrow.declared import to_text_batches
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.helpers import in_thread
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing, example
from sync_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.integration

MODULE = "sync_pipeline_tests.integration.sources.test_python"
COLUMNS = {"id": "bigint", "amount": "numeric(10,2)", "note": "text", "tags": "jsonb"}


def orders(day: date, shop: str = "north") -> Iterator[dict[str, Any]]:
    yield {"id": 1, "amount": Decimal("9.90"), "note": f"{shop} {day}", "tags": {"a": [1, None]}}
    yield {"id": "2", "amount": "0.10", "note": None}


def as_arrow(day: date) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"id": [1, 2], "amount": [1.5, None], "note": ["a\tb", "\\N"]})


def endless(day: date) -> Iterator[dict[str, Any]]:
    """Yield rows endlessly, pausing briefly before each one."""
    for number in range(10_000_000):
        YIELDED.append(number)
        PAUSE.wait(0.01)
        yield {"id": number}


def in_nanoseconds(day: date) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"at": pa.array([1], pa.timestamp("ns"))})


def structured(day: date) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"tags": pa.array([{"a": 1, "b": None}])})


def not_numbers(day: date) -> Iterator[dict[str, Any]]:
    yield {"tags": {"a": [float("nan"), (float("-inf"), 1.5)]}}


def no_rows(day: date) -> list[dict[str, Any]]:
    return []


def extra_column(day: date) -> Iterator[dict[str, Any]]:
    yield {"id": 1, "amont": 3}


def timed(day: date) -> Iterator[dict[str, Any]]:
    yield {"id": 1, "at": datetime(2025, 9, 30, 16, tzinfo=timezone.utc)}


def at_any_time(day: date, at: str | None) -> Iterator[dict[str, Any]]:
    yield {"at": at}


def failing(day: date) -> Iterator[dict[str, Any]]:
    yield {"id": 1}
    raise RuntimeError("the shop's API said no")


def exiting(day: date) -> Iterator[dict[str, Any]]:
    yield {"id": 1}
    raise SystemExit(3)


def not_ready(day: date) -> Iterator[dict[str, Any]]:
    raise NotReadyError("come back at nine")
    yield {}


YIELDED: list[int] = []
PAUSE = threading.Event()


def keys(function: str, **more: Any) -> dict[str, Any]:
    defaults = {"type": "python", "function": f"{MODULE}:{function}", "columns": COLUMNS}
    return defaults | more


def test_rows_are_loaded_as_the_declared_types_with_the_day_added(syncing: Syncing) -> None:
    (done,) = syncing.sync(keys("orders", options={"shop": "south"}))
    assert done.outcome is Outcome.SUCCESS
    assert syncing.types() == COLUMNS | {"sync_date": "date"}
    assert syncing.rows("SELECT * FROM landed ORDER BY id") == [
        (1, Decimal("9.90"), "south 2025-10-01", {"a": [1, None]}, DAY),
        (2, Decimal("0.10"), None, None, DAY),
    ]
    assert syncing.rows("SELECT total_records, success_count FROM daily_sync_status") == [(2, 2)]


def test_the_documented_example_runs(
    syncing: Syncing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (PROJECT_ROOT / "docs/sources/python.md").read_text("utf-8")
    (module,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    package = tmp_path / "team"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").write_text(module)
    (tmp_path / "north").mkdir()
    rows = '[{"id": 1, "amount": 9.90, "tags": ["new"]}, {"id": 2, "amount": 0.10, "tags": []}]'
    (tmp_path / "north" / f"{DAY}.json").write_text(rows)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SHOP_EXPORTS", str(tmp_path))
    for name in ("team", "team.orders"):  # another project in this process may have imported it
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    attributes = example("docs/sources/python.md")
    done, later = syncing.sync(attributes.pop("source"), [DAY, NEXT_DAY], **attributes)
    assert (done.outcome, done.error) == (Outcome.SUCCESS, None)
    assert f"{NEXT_DAY}.json has not been exported yet" in str(later.error)
    assert syncing.rows("SELECT id, amount::text, tags FROM orders ORDER BY id") == [
        (1, "9.90", ["new"]),
        (2, "0.10", []),
    ]


def test_the_error_for_a_day_that_is_not_ready_is_recorded_with_dataset_and_day(
    syncing: Syncing,
) -> None:
    (done,) = syncing.sync(keys("not_ready"))
    assert done.outcome is Outcome.FAILED
    message = f"dataset landed: {MODULE}:not_ready for 2025-10-01: come back at nine"
    assert syncing.rows("SELECT error_message FROM sync_attempt") == [(message,)]


@pytest.mark.parametrize("table_exists", [False, True])
def test_a_type_unknown_to_the_target_is_reported_with_its_column(
    syncing: Syncing, table_exists: bool
) -> None:
    if table_exists:
        syncing.sync(keys("orders"))
    with pytest.raises(
        SettingError, match="column 'id' has the type bigintt, which does not exist"
    ):
        syncing.sync(keys("orders", columns=COLUMNS | {"id": "bigintt"}))


def test_record_batches_are_loaded_like_mappings(syncing: Syncing) -> None:
    syncing.sync(keys("as_arrow"))
    assert syncing.rows("SELECT id, amount, note FROM landed ORDER BY id") == [
        (1, Decimal("1.50"), "a\tb"),
        (2, None, "\\N"),
    ]


def test_record_batches_are_converted_one_at_a_time() -> None:
    read: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(3):
            read.append(number)
            yield pa.record_batch({"id": [number]})

    declared = to_text_batches(batches(), {"id": "bigint"}, "a test")
    assert next(declared).to_pylist() == [{"id": "0"}]
    assert read == [0]


def test_a_value_that_would_be_rounded_is_rejected_and_a_struct_becomes_json(
    syncing: Syncing,
) -> None:
    columns = {"at": "timestamp"}
    (done,) = syncing.sync(keys("in_nanoseconds", columns=columns))
    assert done.outcome is Outcome.FAILED
    assert "for 2025-10-01: column 'at' has a value that is more precise than timestamp" in (
        done.error or ""
    )
    (done,) = syncing.sync(keys("structured", columns={"tags": "jsonb"}), target={"table": "tags"})
    assert syncing.rows("SELECT tags FROM tags") == [({"a": 1, "b": None},)]


def test_nan_within_an_object_becomes_text(syncing: Syncing) -> None:
    (done,) = syncing.sync(keys("not_numbers", columns={"tags": "jsonb"}))
    assert done.error is None
    assert syncing.rows("SELECT tags FROM landed") == [({"a": ["NaN", ["-Infinity", 1.5]]},)]


def test_a_function_is_cancelled_after_its_next_row(syncing: Syncing) -> None:
    with (
        closing(open_source(syncing.dataset(keys("endless")), Settings({}))) as source,
        in_thread(lambda: source.read_day(DAY, io.BytesIO(), CopyFormat.TEXT)) as reading,
    ):
        wait_until(lambda: len(YIELDED) > 2)
        source.cancel()
        with pytest.raises(SourceError, match="for 2025-10-01 was cancelled"):
            reading.result(10)
    assert len(YIELDED) < 1000


def test_a_sync_replaces_only_its_day(syncing: Syncing) -> None:
    syncing.sync(keys("orders"), [DAY, NEXT_DAY])
    syncing.sync(keys("no_rows"), [DAY])
    assert syncing.rows("SELECT sync_date, count(*) FROM landed GROUP BY 1") == [(NEXT_DAY, 2)]


def test_the_day_column_is_checked_in_the_datasets_time_zone(syncing: Syncing) -> None:
    columns = {"id": "bigint", "at": "timestamptz"}
    source = keys("timed", columns=columns, day_column="at")
    for _ in range(2):
        (done,) = syncing.sync(source, timezone="Asia/Shanghai")
        assert done.outcome is Outcome.SUCCESS
    assert syncing.rows("SELECT count(*) FROM landed") == [(1,)]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (
            "2025-09-30T15:59:59Z",
            "row for 2025-10-01 whose day_column 'at' is 2025-09-30 15:59:59+00:00",
        ),
        (
            "yesterday",
            "'yesterday'; it must be a timestamp with time zone written as 2025-10-01 12:00:00+",
        ),
        (None, "day_column 'at' is empty"),
    ],
)
def test_a_row_from_another_day_is_rejected(syncing: Syncing, at: str | None, message: str) -> None:
    source = keys("at_any_time", columns={"at": "timestamptz"}, day_column="at", options={"at": at})
    (done,) = syncing.sync(source, timezone="Asia/Shanghai")
    assert done.outcome is Outcome.FAILED
    assert message in (done.error or "")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("extra_column", "yielded a column 'amont' that 'columns' does not declare"),
        ("failing", "test_python:failing for 2025-10-01 failed: RuntimeError: the shop's API said"),
        (
            "exiting",
            "test_python:exiting for 2025-10-01 called sys.exit(3); raise an error instead",
        ),
    ],
)
def test_invalid_rows_fail_the_day_with_a_reason_and_keep_its_rows(
    syncing: Syncing, function: str, message: str
) -> None:
    syncing.sync(keys("orders"))
    (done,) = syncing.sync(keys(function))
    assert done.outcome is Outcome.FAILED
    assert message in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(2,)]


def test_a_missing_function_is_reported(syncing: Syncing) -> None:
    with pytest.raises(
        SettingError, match=r"cannot import .*test_python:ordres.*correct 'function'"
    ):
        syncing.sync(keys("ordres"))
