"""Record batches of every type are loaded exactly, in both the binary and the text COPY format."""

import io
import json
from collections.abc import Generator
from contextlib import closing
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import CountMismatchError, SourceError
from sync_pipeline.sources.arrow.source import ArrowReader
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration

INFINITY = float("inf")
UTC = timezone.utc
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.decimal128(38, 10): st.decimals(-(10**27), 10**27, places=10),
    pa.decimal128(5, 0): st.decimals(-99999, 99999, places=0),
    pa.string(): st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    pa.large_string(): st.text(st.sampled_from("a\\\t\n\r\"',{}N😀日")),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["", "NULL", "\\N", "\\."]),
    pa.binary(): st.binary(max_size=40),
    pa.binary(4): st.binary(min_size=4, max_size=4),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("s"): st.datetimes().map(lambda at: at.replace(microsecond=0)),
    pa.timestamp("us", "Asia/Shanghai"): st.integers(-(2**50), 2**50).map(
        lambda seconds: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=seconds)
    ),
    pa.time64("us"): st.times(),
    pa.duration("us"): st.timedeltas(timedelta(days=-99999), timedelta(days=99999)),
    pa.list_(pa.int32()): st.lists(st.none() | st.integers(-5, 5), max_size=4),
    pa.list_(pa.string()): st.lists(st.none() | st.sampled_from(["", "NULL", '"{,\\', "\n"])),
    pa.struct({"a": pa.int32(), "b": pa.string()}): st.fixed_dictionaries(
        {"a": st.integers(-9, 9), "b": st.sampled_from(["", '"', "\\", "日"])}
    ),
}


class Batches:
    """In-memory `ArrowRows` that report `reported_count` as their row count."""

    declared: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, *batches: pa.RecordBatch, reported_count: int | None = None) -> None:
        self.schema = batches[0].schema
        self._batches = batches
        self._reported_count = reported_count

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        yield from self._batches

    def source_count(self) -> int | None:
        return self._reported_count

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def make_reader(dataset: Dataset, *batches: pa.RecordBatch, **options: Any) -> ArrowReader:
    return ArrowReader(dataset, Batches(*batches, **options))


def load(
    syncing: Syncing, batch: pa.RecordBatch, copy_format: CopyFormat, expression: str = "x"
) -> list[Any]:
    """Copy a batch into a matching table; return the value of `expression` for each row."""
    source = make_reader(make_dataset(syncing), batch)
    out = io.BytesIO()
    assert source.read_day(DAY, out, copy_format) == batch.num_rows
    out.seek(0)
    columns = ", ".join(f'"{column.name}" {column.type}' for column in source.shape.columns)
    names = ", ".join(f'"{column.name}"' for column in source.shape.columns)
    with closing(psycopg2.connect(syncing.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(f"CREATE TEMP TABLE landed (n serial, {columns})")
        cursor.copy_expert(f"COPY landed ({names}) FROM STDIN (FORMAT {copy_format.value})", out)
        cursor.execute(f"SELECT {expression} FROM landed ORDER BY n")
        return [value for (value,) in cursor.fetchall()]


def make_dataset(syncing: Syncing) -> Dataset:
    source = {"type": "python", "function": "some.module:rows", "columns": {"x": "text"}}
    return syncing.dataset(source | {"day_column": "day"})


def to_python(value: Any) -> Any:
    """Convert a value returned by psycopg2 to the type that Arrow would return."""
    if isinstance(value, memoryview):
        return bytes(value)
    return value


@pytest.mark.parametrize("kind", list(VALUES), ids=str)
@given(data=st.data())
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_value_is_loaded_exactly_in_both_formats(
    syncing: Syncing, kind: pa.DataType, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=30))
    skipped = data.draw(st.integers(0, len(values) - 1))
    # In a slice, the values and the validity bits start at an offset in their buffers.
    array = pa.array(values, kind).slice(skipped)
    batch = pa.record_batch([array], names=["x"])
    formats = [CopyFormat.TEXT]
    if make_reader(make_dataset(syncing), batch).shape.binary:
        formats.append(CopyFormat.BINARY)
    for copy_format in formats:
        loaded = [to_python(value) for value in load(syncing, batch, copy_format)]
        if kind == pa.float32():  # psycopg2 returns a double
            loaded = pa.array(loaded, kind).to_pylist()
        assert loaded == values[skipped:], copy_format


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.uint64(), "numeric(20,0)"),
        (pa.decimal128(9, 2), "numeric(9,2)"),
        (pa.timestamp("ns", "UTC"), "timestamp with time zone"),
        (pa.list_(pa.float32()), "real[]"),
        (pa.struct({"a": pa.int32()}), "jsonb"),
        (pa.list_(pa.struct({"a": pa.int32()})), "jsonb"),
        (pa.map_(pa.string(), pa.int32()), "jsonb"),
        (pa.null(), "text"),
    ],
    ids=str,
)
def test_each_type_maps_to_a_column_type_that_holds_all_its_values(
    syncing: Syncing, kind: pa.DataType, expected: str
) -> None:
    source = make_reader(make_dataset(syncing), pa.record_batch([pa.nulls(1, kind)], names=["x"]))
    assert [(column.name, column.type) for column in source.shape.columns] == [
        ("x", expected),
        ("day", "date"),
    ]


@pytest.mark.parametrize("value", [INFINITY, -INFINITY, float("nan")])
def test_infinity_and_nan_are_loaded(syncing: Syncing, value: float) -> None:
    batch = pa.record_batch([pa.array([value])], names=["x"])
    for copy_format in CopyFormat:
        (loaded,) = load(syncing, batch, copy_format)
        assert repr(loaded) == repr(value)


DAYS_OF_YEAR_0 = -719_528  # days from 1970-01-01 to 0000-01-01
FAR_DATES = {
    DAYS_OF_YEAR_0 - 1: "2-12-31 BC",
    DAYS_OF_YEAR_0: "1-01-01 BC",
    DAYS_OF_YEAR_0 + 366: "1-01-01 AD",
    2_932_897: "10000-01-01 AD",
}


@pytest.mark.parametrize("copy_format", list(CopyFormat))
@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")])
def test_dates_before_year_1_and_after_9999_are_loaded(
    syncing: Syncing, kind: pa.DataType, copy_format: CopyFormat
) -> None:
    dates = pa.array([*FAR_DATES, None], pa.int32()).cast(pa.date32())
    batch = pa.record_batch([dates.cast(pa.timestamp("us")).cast(kind)], names=["x"])
    loaded = load(syncing, batch, copy_format, "to_char(x, 'FMYYYY-MM-DD BC')")
    assert loaded == [*FAR_DATES.values(), None]


def test_nanoseconds_are_rejected_instead_of_truncated(syncing: Syncing) -> None:
    batch = pa.record_batch([pa.array([1], pa.timestamp("ns"))], names=["x"])
    with pytest.raises(
        SourceError, match="column 'x' has a value that is more precise than timestamp"
    ):
        make_reader(make_dataset(syncing), batch).read_day(DAY, io.BytesIO(), CopyFormat.BINARY)


def test_a_row_from_another_day_is_rejected(syncing: Syncing) -> None:
    batch = pa.record_batch([pa.array([1]), pa.array([NEXT_DAY])], names=["x", "day"])
    with pytest.raises(
        SourceError, match="a row for 2025-10-01 whose day_column 'day' is 2025-10-02"
    ):
        make_reader(make_dataset(syncing), batch).read_day(DAY, io.BytesIO(), CopyFormat.BINARY)


def test_a_row_without_a_day_is_rejected(syncing: Syncing) -> None:
    days = pa.array([DAY, None], pa.date32())
    batch = pa.record_batch([pa.array([1, 2]), days], names=["x", "day"])
    with pytest.raises(SourceError, match="day_column 'day' is empty"):
        make_reader(make_dataset(syncing), batch).read_day(DAY, io.BytesIO(), CopyFormat.BINARY)


def test_a_wrong_row_count_from_the_source_is_rejected(syncing: Syncing) -> None:
    batch = pa.record_batch([pa.array([1, 2])], names=["x"])
    with pytest.raises(CountMismatchError, match="reports 3 rows for 2025-10-01, but delivered 2"):
        make_reader(make_dataset(syncing), batch, reported_count=3).read_day(
            DAY, io.BytesIO(), CopyFormat.BINARY
        )


def test_a_column_name_that_is_too_long_for_postgresql_is_reported(syncing: Syncing) -> None:
    long = "日" * 22  # 66 bytes
    batch = pa.record_batch([pa.array([1])], names=[long])
    with pytest.raises(SourceError, match=f"column named '{long}'.*63 bytes"):
        make_reader(make_dataset(syncing), batch)


def test_values_without_a_json_type_become_text_in_json(syncing: Syncing) -> None:
    value = {"at": datetime(2025, 10, 1, 12, tzinfo=UTC), "sum": Decimal("0.10"), "t": time(1)}
    batch = pa.record_batch([pa.array([value])], names=["x"])
    (loaded,) = load(syncing, batch, CopyFormat.TEXT)
    assert loaded == {"at": "2025-10-01 12:00:00+00:00", "sum": "0.10", "t": "01:00:00"}
    assert json.dumps(loaded)
