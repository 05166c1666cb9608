"""Parquet files are loaded with their own types, and a day is selected using file statistics."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.errors import NotReadyError, SourceError
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing
from sync_pipeline_tests.integration.sources.test_arrow import VALUES, to_python

pytestmark = pytest.mark.integration

UTC = timezone.utc


def keys(folder: Path, name: str = "{day}.parquet", **more: Any) -> dict[str, Any]:
    return {"type": "files", "path": f"{folder}/{name}"} | more


def write(folder: Path, columns: dict[str, Any], name: str = "2025-10-01", **options: Any) -> Path:
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize("kind", [k for k in VALUES if k != pa.binary(4)], ids=str)
@given(data=st.data())
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_every_value_is_loaded_exactly(
    syncing: Syncing, tmp_path: Path, kind: pa.DataType, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=20))
    order = pa.array(range(len(values)), pa.int32())
    write(tmp_path, {"n": order, "x": pa.array(values, kind)})
    syncing.rows("DROP TABLE IF EXISTS landed")
    (done,) = syncing.sync(keys(tmp_path))
    assert done.error is None
    found = [to_python(value) for (value,) in syncing.rows("SELECT x FROM landed ORDER BY n")]
    if kind == pa.float32():
        found = pa.array(found, kind).to_pylist()
    assert found == values


def test_the_table_is_created_with_the_types_of_the_newest_file(
    syncing: Syncing, tmp_path: Path
) -> None:
    write(tmp_path, {"id": pa.array([1], pa.int32())}, "2025-09-30")
    write(
        tmp_path,
        {"id": pa.array([2], pa.int64()), "sum": pa.array([Decimal("1.50")]), "select": ["x"]},
    )
    (done,) = syncing.sync(keys(tmp_path))
    assert done.error is None
    assert syncing.types() == {
        "id": "bigint",
        "sum": "numeric(3,2)",
        "select": "text",
        "sync_date": "date",
    }
    (old,) = syncing.sync(keys(tmp_path), [date(2025, 9, 30)])
    assert "2025-09-30.parquet for 2025-09-30 has no column 'sum'" in (old.error or "")
    (old,) = syncing.sync(keys(tmp_path, missing_columns="null"), [date(2025, 9, 30)])
    assert old.error is None
    assert syncing.rows("SELECT id, sum FROM landed ORDER BY id") == [
        (1, None),
        (2, Decimal("1.50")),
    ]


def test_a_column_that_the_newest_file_lacks_is_rejected(syncing: Syncing, tmp_path: Path) -> None:
    write(tmp_path, {"id": [1], "old": [1]})
    write(tmp_path, {"id": [2]}, "2025-10-02")
    (done,) = syncing.sync(keys(tmp_path))
    assert "has a column 'old', which is not in the newest file" in (done.error or "")
    (done,) = syncing.sync(keys(tmp_path, extra_columns="ignore"))
    assert done.outcome is Outcome.SUCCESS


def test_nanoseconds_are_rejected_unless_the_column_is_declared_as_text(
    syncing: Syncing, tmp_path: Path
) -> None:
    one, kinds = [1_759_276_800_000_000_001], (pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
    times = {f"t{n}": pa.array(one, kind) for n, kind in enumerate(kinds)}
    times["t2"] = pa.array([1], pa.time64("ns"))
    times["t3"] = times["t0"].dictionary_encode()
    write(tmp_path, times)
    (done,) = syncing.sync(keys(tmp_path))
    assert (
        "2025-10-01: column 't0' has a value that is more precise than timestamp without time "
        "zone; declare the column as text under 'columns'"
    ) in (done.error or "")
    syncing.rows("DROP TABLE landed")
    (done,) = syncing.sync(keys(tmp_path, columns=dict.fromkeys(times, "timestamp")))
    assert "column 't0' has a value that is more precise than timestamp" in (done.error or "")
    syncing.rows("DROP TABLE landed")
    texts = dict.fromkeys(times, "text") | {"t1": "varchar(40)"}
    (done,) = syncing.sync(keys(tmp_path, columns=texts))
    assert done.error is None
    assert syncing.rows("SELECT t0, t1, t2, t3 FROM landed") == [
        (
            "2025-10-01 00:00:00.000000001",
            "2025-10-01 00:00:00.000000001+00",
            "00:00:00.000000001",
            "2025-10-01 00:00:00.000000001",
        )
    ]


@pytest.mark.parametrize("columns", [None, {"doc": "jsonb"}, {"doc": "text"}])
def test_nan_within_a_struct_becomes_text(
    syncing: Syncing, tmp_path: Path, columns: dict[str, str] | None
) -> None:
    inner = pa.struct({"x": pa.float32(), "l": pa.list_(pa.float64())})
    rows = [{"x": float("nan"), "l": [float("inf"), 1.5]}, {"x": 2.0, "l": [float("-inf"), None]}]
    write(tmp_path, {"doc": pa.array(rows, inner)})
    (done,) = syncing.sync(keys(tmp_path, columns=columns))
    assert done.error is None
    assert syncing.rows("SELECT doc::jsonb FROM landed ORDER BY doc::jsonb ->> 'x'") == [
        ({"x": 2.0, "l": ["-Infinity", None]},),
        ({"x": "NaN", "l": ["Infinity", 1.5]},),
    ]


def test_nanoseconds_within_a_struct_are_rejected(syncing: Syncing, tmp_path: Path) -> None:
    struct = pa.StructArray.from_arrays([pa.array([1], pa.timestamp("ns"))], ["at"])
    write(tmp_path, {"doc": struct})
    (done,) = syncing.sync(keys(tmp_path))
    assert "column 'doc' has a value that is more precise than jsonb" in (done.error or "")


INSTANTS = [
    datetime(2025, 9, 30, 15, 59, 59, 999_999, UTC),
    datetime(2025, 9, 30, 16, 0, tzinfo=UTC),
    datetime(2025, 10, 1, 15, 59, 59, tzinfo=UTC),
    datetime(2025, 10, 1, 16, 0, tzinfo=UTC),
    None,
]


@pytest.mark.parametrize(
    "kind", [pa.timestamp(unit, "UTC") for unit in ("ms", "us", "ns")], ids=str
)
def test_rows_of_a_day_are_selected_in_the_datasets_time_zone(
    syncing: Syncing, tmp_path: Path, kind: pa.DataType
) -> None:
    instants = [at and at.replace(microsecond=at.microsecond // 1000 * 1000) for at in INSTANTS]
    write(tmp_path, {"id": range(5), "at": pa.array(instants, kind)}, "all")
    source = keys(tmp_path, "all.parquet", day_column="at")
    for _ in range(2):
        (done,) = syncing.sync(source, timezone="Asia/Shanghai")
        assert done.error is None
    assert syncing.rows("SELECT id FROM landed ORDER BY 1") == [(1,), (2,)]


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns")], ids=str
)
def test_rows_of_a_local_day_are_selected(
    syncing: Syncing, tmp_path: Path, kind: pa.DataType
) -> None:
    days = pa.array([DAY - timedelta(days=1), DAY, NEXT_DAY], pa.date32()).cast(kind)
    write(tmp_path, {"id": range(3), "day": days}, "all")
    (done,) = syncing.sync(keys(tmp_path, "all.parquet", day_column="day"))
    assert done.error is None
    assert syncing.rows("SELECT id FROM landed") == [(1,)]
    (far,) = syncing.sync(
        keys(tmp_path, "all.parquet", day_column="day"), [date(1500, 1, 1)], start_date="1500-01-01"
    )
    assert far.counts is not None
    assert far.counts.rows_read == 0


def test_row_groups_without_rows_for_the_day_are_not_read(syncing: Syncing, tmp_path: Path) -> None:
    days = [DAY] * 1000 + [NEXT_DAY] * 1000
    path = write(tmp_path, {"id": range(2000), "day": days}, "all", row_group_size=1000)
    group = pq.read_metadata(path).row_group(1).column(0)
    with path.open("r+b") as file:
        file.seek(group.dictionary_page_offset or group.data_page_offset)
        file.write(b"\xff" * 64)
    source = keys(tmp_path, "all.parquet", day_column="day")
    first, second = syncing.sync(source, [DAY, NEXT_DAY])
    assert first.error is None
    assert syncing.rows("SELECT count(*) FROM landed") == [(1000,)]
    assert f"{path} for 2025-10-02: cannot read the file" in (second.error or "")


def test_declared_columns_are_parsed_by_postgresql(syncing: Syncing, tmp_path: Path) -> None:
    columns = {"id": "bigint", "sum": "numeric(9,2)", "tags": "jsonb", "day": "date"}
    table = {
        "day": pa.array([DAY, NEXT_DAY]),
        "id": pa.array(["1", "2"]),
        "sum": pa.array([1.5, None]),
        "tags": pa.array([{"a": 1}, None]),
    }
    write(tmp_path, table, "all")
    (done,) = syncing.sync(keys(tmp_path, "all.parquet", columns=columns, day_column="day"))
    assert done.error is None
    assert syncing.types() == columns
    assert syncing.rows("SELECT * FROM landed") == [(1, Decimal("1.50"), {"a": 1}, DAY)]


@pytest.mark.parametrize("kept_bytes", [0, 3, -4, -20])
def test_a_corrupt_file_raises_an_error_with_its_path(
    syncing: Syncing, tmp_path: Path, kept_bytes: int
) -> None:
    write(tmp_path, {"id": [1]}, "2025-10-02")
    path = write(tmp_path, {"id": list(range(1000))})
    path.write_bytes(path.read_bytes()[:kept_bytes])
    (done,) = syncing.sync(keys(tmp_path))
    assert f"dataset landed: {path} for 2025-10-01: cannot read the file: " in (done.error or "")
    assert "\n" not in (done.error or "")


def test_the_newest_file_must_exist_and_be_complete(syncing: Syncing, tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=r"no file found in .* to read the columns"):
        syncing.sync(keys(tmp_path))
    (tmp_path / "2025-10-01.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"cannot read the columns of .*2025-10-01\.parquet"):
        syncing.sync(keys(tmp_path))


def test_a_path_without_a_day_needs_a_day_column(syncing: Syncing, tmp_path: Path) -> None:
    write(tmp_path, {"id": [1]}, "all")
    with pytest.raises(SourceError, match="has no day_column 'sync_date'"):
        syncing.sync(keys(tmp_path, "all.parquet"))


def test_a_daily_file_with_a_row_from_another_day_is_rejected(
    syncing: Syncing, tmp_path: Path
) -> None:
    write(tmp_path, {"id": [1, 2], "day": [DAY, NEXT_DAY]})
    (done,) = syncing.sync(keys(tmp_path, day_column="day"))
    assert "a row for 2025-10-01 whose day_column 'day' is 2025-10-02" in (done.error or "")


def test_int96_timestamps_after_2262_are_loaded(syncing: Syncing, tmp_path: Path) -> None:
    at = datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001
    table = {"at": pa.array([at], pa.timestamp("us"))}
    write(tmp_path, table, use_deprecated_int96_timestamps=True)
    (done,) = syncing.sync(keys(tmp_path))
    assert done.error is None
    assert syncing.rows("SELECT at FROM landed") == [(at,)]


@pytest.mark.parametrize("name", ["{day}.parquet", "*.parquet"])
@pytest.mark.parametrize(
    "values",
    [
        pa.array(["20251001"]),
        pa.array([20251001], pa.int32()),
        pa.array(["20251001"]).dictionary_encode(),
        pa.array([DAY]),
    ],
    ids=["text", "number", "dictionary", "date"],
)
def test_date_format_applies_to_text_and_numbers(
    syncing: Syncing, tmp_path: Path, values: pa.Array, name: str
) -> None:
    write(tmp_path, {"id": [1], "day": values})
    columns = {"id": "int", "day": "date"}
    source = keys(tmp_path, name, columns=columns, day_column="day", date_format="%Y%m%d")
    (done,) = syncing.sync(source)
    assert done.error is None
    assert syncing.rows("SELECT * FROM landed") == [(1, DAY)]
