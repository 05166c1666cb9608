"""Each day of a file that is split has the rows, and the errors, of a direct read."""

import gzip
import json
import random
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sync_pipeline.errors import SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY
from sync_pipeline_tests.integration.sources.days_in_file import (
    THIRD_DAY,
    keys,
    make_dataset,
    read,
    read_directly,
    write_csv,
)
from sync_pipeline_tests.integration.sources.file_reads import Reads, open_files

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("temporary_folder")]

ROWS = 40_000
DST_DAYS = [date(2025, 11, 1) + timedelta(days=n) for n in range(4)]
START = datetime(2025, 10, 31, 22, tzinfo=timezone.utc)
SECONDS = 4 * 24 * 3600


def times(*, with_zone: bool) -> list[str | None]:
    """Return unsorted times over four days, some of them empty."""
    seconds = random.Random(1).choices(range(SECONDS), k=ROWS)  # noqa: S311
    ending = "+00:00" if with_zone else ""
    return [
        None if second % 10 == 0 else f"{START + timedelta(seconds=second):%F %T}{ending}"
        for second in seconds
    ]


def write_rows(path: Path, values: list[str | None]) -> None:
    if ".jsonl" in path.name:
        lines = [json.dumps({"id": n, "day": value}) for n, value in enumerate(values)]
    else:
        lines = ["id,day", *(f"{n},{value or ''}" for n, value in enumerate(values))]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("header", ["", "id,day\n"])
@pytest.mark.parametrize("ending", ["", "\n" * 3_000_000])
def test_a_single_row_without_a_line_break_is_split(
    tmp_path: Path, header: str, ending: str
) -> None:
    path = tmp_path / "all.csv"
    path.write_text(f"{header}1,{THIRD_DAY}{ending}")
    dataset = make_dataset(keys(path, csv={"header": bool(header)}))
    with closing(open_source(dataset, Settings({}))) as source:
        assert [read(source, day) for day in (DAY, NEXT_DAY, THIRD_DAY)] == [
            [],
            [],
            ["1\t2025-10-03"],
        ]


@pytest.mark.parametrize("name", ["all.csv", "all.csv.gz", "all.jsonl"])
@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_each_day_has_the_rows_of_a_direct_read_in_the_same_order(
    tmp_path: Path, reads: Reads, name: str, kind: str
) -> None:
    values = times(with_zone=kind == "timestamptz")
    if kind == "date":
        values = [value and value[:10] for value in values]
    write_rows(tmp_path / name, values)
    source_keys = keys(tmp_path / name, columns={"id": "bigint", "day": kind})
    dataset = make_dataset(source_keys, timezone="America/New_York")  # clocks change on Nov 2
    expected = [read_directly(dataset, day) for day in DST_DAYS]
    assert sum(map(len, expected)) > ROWS / 2
    reads.opens.clear()
    with closing(open_source(dataset, Settings({}))) as source:
        assert [read(source, day) for day in DST_DAYS] == expected
        assert [read(source, day) for day in DST_DAYS] == expected
    assert reads.opens == {str(tmp_path / name): 2}


INSTANTS = pa.array(
    [
        None if n % 10 == 0 else START + timedelta(seconds=n * 7919 % SECONDS, microseconds=n)
        for n in range(ROWS)
    ],
    pa.timestamp("us", "UTC"),
)
LOCAL_TIMES = INSTANTS.view(pa.timestamp("us"))


@pytest.mark.parametrize(
    "days",
    [
        INSTANTS,
        INSTANTS.cast(pa.timestamp("ns", "UTC")),
        LOCAL_TIMES,
        LOCAL_TIMES.cast(pa.timestamp("ms"), safe=False),
        LOCAL_TIMES.cast(pa.date32()),
        LOCAL_TIMES.cast(pa.date64()),
    ],
    ids=lambda days: str(days.type),
)
@pytest.mark.parametrize("declared", [False, True], ids=["typed", "declared"])
def test_each_day_of_a_parquet_file_has_the_rows_of_a_direct_read(
    tmp_path: Path, reads: Reads, days: pa.Array, declared: bool
) -> None:
    table = {"id": range(ROWS), "day": days, "name": pa.array(["a", "b"] * (ROWS // 2))}
    table["name"] = table["name"].dictionary_encode()
    pq.write_table(pa.table(table), tmp_path / "all.parquet", row_group_size=ROWS // 2)
    kind = "date" if pa.types.is_date(days.type) else "timestamp"
    kind += "tz" if getattr(days.type, "tz", None) else ""
    columns = {"id": "numeric", "day": kind, "name": "text"} if declared else None
    dataset = make_dataset(keys(tmp_path / "all.parquet", columns=columns), timezone="Asia/Tokyo")
    expected = [read_directly(dataset, day) for day in DST_DAYS]
    assert sum(map(len, expected)) > ROWS / 2
    reads.row_groups.clear()
    with closing(open_source(dataset, Settings({}))) as source:
        assert [read(source, day) for day in DST_DAYS] == expected
    assert set(reads.row_groups.values()) == {2}


def test_a_parquet_file_whose_day_column_is_text_is_split(tmp_path: Path, reads: Reads) -> None:
    days = [str(DAY), str(NEXT_DAY), str(THIRD_DAY), None]
    pq.write_table(pa.table({"id": range(4), "day": days}), tmp_path / "all.parquet")
    source_keys = keys(tmp_path / "all.parquet", columns={"id": "int", "day": "date"})
    with closing(open_source(make_dataset(source_keys), Settings({}))) as source:
        rows = [read(source, day) for day in (DAY, NEXT_DAY, THIRD_DAY)]
    assert rows == [["0\t2025-10-01"], ["1\t2025-10-02"], ["2\t2025-10-03"]]
    assert reads.row_groups == {0: 2}


def test_row_groups_that_one_day_needs_are_not_split(
    tmp_path: Path, reads: Reads, temporary_folder: Path
) -> None:
    days = [DAY] * 100 + [NEXT_DAY] * 100 + [THIRD_DAY] * 100
    table = pa.table({"id": range(300), "day": days})
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=100)
    dataset = make_dataset(keys(tmp_path / "all.parquet"))
    with closing(open_source(dataset, Settings({}))) as source:
        assert [len(read(source, day)) for day in (DAY, NEXT_DAY, THIRD_DAY)] == [100] * 3
        assert open_files(temporary_folder) == []
    assert reads.row_groups == {0: 1, 1: 1, 2: 1}


def test_an_invalid_day_fails_each_day_with_the_message_of_a_direct_read(
    tmp_path: Path, temporary_folder: Path
) -> None:
    path = write_csv(tmp_path / "all.csv", DAY, NEXT_DAY, "02.10.2025")
    message = r"all\.csv for {day} has the value '02\.10\.2025' in day_column 'day'"
    with closing(open_source(make_dataset(keys(path)), Settings({}))) as source:
        for day in (DAY, NEXT_DAY, THIRD_DAY):
            with pytest.raises(SourceError, match=message.format(day=day)):
                read(source, day)
        write_csv(path, DAY, NEXT_DAY)
        assert read(source, DAY) == ["0\t2025-10-01"]
        assert read(source, NEXT_DAY) == ["1\t2025-10-02"]
        assert len(open_files(temporary_folder)) == 1


def test_an_invalid_value_in_a_parquet_file_fails_only_its_day(tmp_path: Path) -> None:
    at = pa.array([0, 1, 1000], pa.timestamp("ns"))
    table = pa.table({"day": [DAY, NEXT_DAY, THIRD_DAY], "at": at})
    pq.write_table(table, tmp_path / "all.parquet")
    source_keys = keys(tmp_path / "all.parquet", columns={"day": "date", "at": "timestamp"})
    with closing(open_source(make_dataset(source_keys), Settings({}))) as source:
        for _ in range(2):
            assert len(read(source, DAY)) == 1
            with pytest.raises(SourceError, match="2025-10-02: column 'at' has a value that is mo"):
                read(source, NEXT_DAY)
            assert len(read(source, THIRD_DAY)) == 1
