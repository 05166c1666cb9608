"""CSV files in any dialect and encoding are loaded with the types that the dataset declares."""

import bz2
import csv
import gzip
import io
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.config.sources import FilesSource
from sync_pipeline.sources.arrow.declared import text_schema
from sync_pipeline.sources.files.csv import CsvFormat
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration

HEADER = b"id,amount,note\n"
COLUMNS = {"id": "bigint", "amount": "numeric(10,2)", "note": "text"}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
SPECIAL_TEXTS = st.text(st.sampled_from("a\"'\\\t\n\r,;{}N.😀日 "), max_size=8)


def keys(folder: Path, name: str = "{day}.csv", **more: Any) -> dict[str, Any]:
    return {"type": "files", "path": f"{folder}/{name}", "columns": COLUMNS} | more


def failure(syncing: Syncing, source: dict[str, Any], **changes: Any) -> str:
    """Sync a day that must fail; return its error, which must name the dataset and the day."""
    (done,) = syncing.sync(source, **changes)
    assert done.outcome is Outcome.FAILED
    assert done.error is not None
    assert done.error.startswith("dataset landed: ")
    assert "2025-10-01" in done.error
    assert "\n" not in done.error
    return done.error


def test_a_daily_file_is_loaded_with_the_day_added(syncing: Syncing, tmp_path: Path) -> None:
    (tmp_path / "2025-10-01.csv").write_text('id,amount,note\n1,9.90,"a, ""b"""\n2,,\n3,-1,""\n')
    (tmp_path / "2025-10-02.csv").write_text("id,amount,note\n4,0,x\n")
    for _ in range(2):
        first, second = syncing.sync(keys(tmp_path), [DAY, NEXT_DAY])
        assert (first.outcome, second.outcome) == (Outcome.SUCCESS, Outcome.SUCCESS)
    assert syncing.types() == COLUMNS | {"sync_date": "date"}
    assert syncing.rows("SELECT * FROM landed ORDER BY id") == [
        (1, Decimal("9.90"), 'a, "b"', DAY),
        (2, None, None, DAY),
        (3, Decimal("-1.00"), "", DAY),
        (4, Decimal("0.00"), "x", NEXT_DAY),
    ]
    assert first.counts is not None
    assert (first.counts.rows_read, first.counts.rows_loaded) == (3, 3)


@given(
    rows=st.lists(st.tuples(TEXTS | SPECIAL_TEXTS, TEXTS | SPECIAL_TEXTS), min_size=1, max_size=20)
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_string_is_loaded_exactly(
    syncing: Syncing, tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    columns = {"n": "bigint", "order": "text", "A b": "text"}
    with (tmp_path / "2025-10-01.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(columns)
        writer.writerows((n, *row) for n, row in enumerate(rows))
    (done,) = syncing.sync(keys(tmp_path, columns=columns))
    assert done.error is None
    assert syncing.rows('SELECT "order", "A b" FROM landed ORDER BY n') == rows


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        ("gz", gzip.compress),
        ("gz", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("bz2", bz2.compress),
        ("zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
    ],
    ids=["gzip", "gzip of two members", "bz2", "zstd"],
)
def test_a_compressed_file_is_read(
    syncing: Syncing, tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(b"id,amount,note\n1,2,x\n")
    (tmp_path / f"2025-10-01.csv.{ending}").write_bytes(data)
    syncing.sync(keys(tmp_path, f"{{day}}.csv.{ending}"))
    assert syncing.rows("SELECT id, amount, note FROM landed") == [(1, 2, "x")]


@pytest.mark.parametrize("missing_bytes", [1, 9, 300])
def test_a_truncated_gzip_file_raises_an_error_with_its_path(
    syncing: Syncing, tmp_path: Path, missing_bytes: int
) -> None:
    rows = b"".join(b"%d,%d,\n" % (n, n * 7919 % 997) for n in range(2000))
    path = tmp_path / "2025-10-01.csv.gz"
    path.write_bytes(gzip.compress(b"id,amount,note\n" + rows)[:-missing_bytes])
    message = failure(syncing, keys(tmp_path, "{day}.csv.gz"))
    assert f"{path} for 2025-10-01: cannot read the file: " in message
    assert "runcated" in message
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ({"delimiter": ";"}, b"id;amount;note\n1;2;a,b\n", (1, 2, "a,b")),
        ({"delimiter": "\t", "quote": ""}, b'id\tamount\tnote\n1\t2\t"\n', (1, 2, '"')),
        ({"quote": "'"}, b"id,amount,note\n1,2,'it''s, \"'\n", (1, 2, "it's, \"")),
        ({"header": False}, b"1,2,x\n", (1, 2, "x")),
        ({"header": False}, b"1,2,x", (1, 2, "x")),
        ({"header": False}, b'\xef\xbb\xbf1,2,"x"', (1, 2, "x")),
        ({"header": False, "encoding": "utf-16"}, "1,2,x".encode("utf-16"), (1, 2, "x")),
        ({"header": False}, b"\r\n" * 1_000_000 + b"1,2,x", (1, 2, "x")),
        ({"header": False}, b"1,2,x" + b"\n" * 3_000_000, (1, 2, "x")),
        ({}, b"\n" * (2**20 - 2) + b"id,amount,note\n1,2,x", (1, 2, "x")),
        ({"null_values": ["NA", "-"]}, b"id,amount,note\nNA,-,\n", (None, None, "")),
        ({"null_values": ["NA"]}, b'id,amount,note\n1,NA,"NA"\n', (1, None, "NA")),
        (
            {"encoding": "gb18030"},
            "id,amount,note\n1,2,日本😀\n".encode("gb18030"),
            (1, 2, "日本😀"),
        ),
        ({"encoding": "utf-16"}, "id,amount,note\n1,2,日\n".encode("utf-16"), (1, 2, "日")),
        ({}, "\ufeffnote,id,amount\r\nx,1,2\r\n".encode(), (1, 2, "x")),
        ({}, b"id,amount,note\n\n1,2,x\n\n", (1, 2, "x")),
        ({}, b'id, amount ,"\tnote\n"\n1,2,x\n', (1, 2, "x")),
        ({"null_values": ["-", "id", "note"]}, b"note,amount,id\nx,2,-\n", (None, 2, "x")),
        ({}, b'id,amount,note\n1,2,"x"', (1, 2, "x")),
        ({}, b'id,amount,note\n1,2,""', (1, 2, "")),
        ({}, b'id,amount,note\n1,2,""""', (1, 2, '"')),
        ({}, b'id,amount,note\n1,2,5" x', (1, 2, '5" x')),
    ],
)
def test_a_file_is_read_with_the_csv_options(
    syncing: Syncing, tmp_path: Path, options: dict[str, Any], data: bytes, expected: Any
) -> None:
    (tmp_path / "2025-10-01.csv").write_bytes(data)
    (done,) = syncing.sync(keys(tmp_path, csv=options))
    assert done.error is None
    assert syncing.rows("SELECT id, amount, note FROM landed") == [expected]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ".csv for 2025-10-01 is empty; it must have at least a header"),
        (HEADER + b"1,2,x\n1,2\n", "row 2 has 2 fields, but the header has 3"),
        (
            HEADER + b"1,2,x\n" * 900_000 + b"1,2,x,y\n",
            "row 900001 has 4 fields, but the header has 3",
        ),
        (HEADER + b'1,2,"x\n3,4,y\n', "the last field has no closing quote"),
        (HEADER + b'1,2,"', "the last field has no closing quote"),
        (HEADER + b'1,"2,x\n3,4,y\n', "row 1 has 2 fields, but the header has 3"),
        (b'id,amount,"note', "a row is longer than 1 MiB, or a field has no closing quote"),
        (b"id,amount," + b"x" * 2**20 + b"\n1,2,3\n", "a row is longer than 1 MiB"),
        (HEADER + b"1,2,\xff\n", "the file is not encoded in utf-8"),
        (b"id,amount\n1,2\n", "has no column 'note'; its columns are 'id', 'amount'"),
        (b"id,amount,note,tip\n1,2,x,3\n", "has a column 'tip', which is not in 'columns'"),
        (b"id,amount,note,id\n1,2,x,3\n", "has two columns named 'id'"),
        (b"id,amount,note, id\n1,2,x,3\n", "has two columns named 'id'"),
        (
            b"id,amount,note,\n1,2,x,\n",
            ".csv for 2025-10-01 has no name for column 4 in its header; name the column in the "
            "file, or set 'extra_columns: ignore'",
        ),
        (b"id, ,note\n1,2,x\n", "has no name for column 2 in its header"),
        (HEADER + b"0,0,x\n1,many,x\n", 'row 2 of the day, column amount: "many"'),
        (HEADER + b"1,2,\0\n", "0x00"),
    ],
)
def test_an_invalid_file_fails_the_day_with_a_reason_and_keeps_its_rows(
    syncing: Syncing, tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "2025-10-01.csv"
    path.write_bytes(HEADER + b"1,2,x\n")
    syncing.sync(keys(tmp_path))
    path.write_bytes(data)
    assert message in failure(syncing, keys(tmp_path))
    assert syncing.rows("SELECT count(*) FROM landed") == [(1,)]


def test_extra_columns_can_be_ignored_and_missing_ones_set_to_null(
    syncing: Syncing, tmp_path: Path
) -> None:
    (tmp_path / "2025-10-01.csv").write_text("tip,id,,\n3,1,,4\n")
    source = keys(tmp_path, extra_columns="ignore", missing_columns="null")
    syncing.sync(source)
    assert syncing.rows("SELECT id, amount, note FROM landed") == [(1, None, None)]


def test_a_name_in_a_long_file_may_be_one_of_the_null_values(
    syncing: Syncing, tmp_path: Path
) -> None:
    rows = b"note,2,x\n" * 300_000  # more than two blocks
    (tmp_path / "2025-10-01.csv").write_bytes(HEADER + rows)
    (done,) = syncing.sync(keys(tmp_path, csv={"null_values": ["note"]}))
    assert done.error is None
    assert syncing.rows("SELECT count(*), count(id) FROM landed") == [(300_000, 0)]


def test_a_wrong_number_of_fields_without_a_header_is_rejected(
    syncing: Syncing, tmp_path: Path
) -> None:
    (tmp_path / "2025-10-01.csv").write_text("1,2\n")
    message = failure(syncing, keys(tmp_path, csv={"header": False}))
    assert "its first row has 2 fields, but 'columns' declares 3" in message


def test_a_row_longer_than_largest_row_mib_is_rejected(syncing: Syncing, tmp_path: Path) -> None:
    (tmp_path / "2025-10-01.csv").write_bytes(HEADER + b"1,2," + b"x" * 3_000_000 + b"\n")
    assert "a row is longer than 1 MiB" in failure(syncing, keys(tmp_path))
    (done,) = syncing.sync(keys(tmp_path, csv={"largest_row_mib": 3}))
    assert done.error is None
    assert syncing.rows("SELECT length(note) FROM landed") == [(3_000_000,)]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\n2,2,y\n"])
def test_a_first_row_longer_than_largest_row_mib_is_never_taken_for_an_empty_file(
    syncing: Syncing, tmp_path: Path, ending: bytes, header: bool
) -> None:
    path = tmp_path / "2025-10-01.csv"
    source = keys(tmp_path, csv={"header": header})
    path.write_bytes((HEADER if header else b"") + b"1,2,x\n")
    syncing.sync(source)
    path.write_bytes((HEADER if header else b"") + b"1,2," + b"x" * 2_500_000 + ending)
    assert "a row is longer than 1 MiB" in failure(syncing, source)
    assert syncing.rows("SELECT count(*) FROM landed") == [(1,)]


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (True, HEADER),
        (True, HEADER.strip()),
        (False, b""),
        (False, b"\n\r\n"),
        (False, b"\n" * 2**21),
    ],
)
def test_a_file_without_rows_is_an_empty_day(
    syncing: Syncing, tmp_path: Path, header: bool, data: bytes
) -> None:
    (tmp_path / "2025-10-01.csv").write_bytes(data)
    (done,) = syncing.sync(keys(tmp_path, csv={"header": header}))
    assert done.error is None
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]


LINE_BREAKS = st.sampled_from(["\n", "\r\n", "\r"])
FIELDS = st.text(st.sampled_from('ab", \n'), max_size=30)


@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS), max_size=8),
    header=st.booleans(),
    line_break=LINE_BREAKS,
    blank_lines=st.integers(0, 80),
    ends_with_break=st.booleans(),
)
def test_a_file_of_any_length_is_read_in_blocks(
    rows: list[tuple[str, str]],
    header: bool,
    line_break: str,
    blank_lines: int,
    ends_with_break: bool,
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=line_break)
    writer.writerows([("a", "b"), *rows] if header else rows)
    text = line_break * blank_lines + out.getvalue()
    text = text if ends_with_break else text.removesuffix(line_break)
    assert read_in_blocks(text.encode(), {"a": "text", "b": "text"}, header) == rows


def read_in_blocks(data: bytes, columns: dict[str, str], header: bool) -> list[tuple[str, ...]]:
    """Read a file in blocks of 160 bytes, which contain one row."""
    source = FilesSource.model_validate(
        {"path": "{day}.csv", "columns": columns, "csv": {"header": header}}
    )
    small = source.csv.model_copy(update={"largest_row_mib": Fraction(160, 2**20)})
    reader = CsvFormat(source.model_copy(update={"csv": small}), text_schema(columns))
    batches = list(reader.rows(pa.BufferReader(data), "the file"))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def test_a_wrong_encoding_is_reported(syncing: Syncing, tmp_path: Path) -> None:
    (tmp_path / "2025-10-01.csv").write_bytes(HEADER + b"1,2,\x81")
    message = failure(syncing, keys(tmp_path, csv={"encoding": "gb18030"}))
    assert "the file is not encoded in gb18030" in message


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_error_for_an_undeclared_utf_16_file_gives_the_key_that_reads_it(
    syncing: Syncing, tmp_path: Path, encoding: str, header: bool
) -> None:
    path = tmp_path / "2025-10-01.csv"
    path.write_bytes((HEADER.decode() * header + "1,2,日\n").encode(encoding))
    options = {"header": header}
    assert failure(syncing, keys(tmp_path, csv=options)) == (
        f"dataset landed: {path} for 2025-10-01: the file is encoded in {encoding.upper()}; set "
        f"'csv: {{encoding: {encoding}}}' in its defs.yaml"
    )
    (done,) = syncing.sync(keys(tmp_path, csv=options | {"encoding": encoding}))
    assert done.error is None
    assert syncing.rows("SELECT note FROM landed") == [("日",)]


def test_an_empty_line_is_a_row_if_there_is_one_column(syncing: Syncing, tmp_path: Path) -> None:
    (tmp_path / "2025-10-01.csv").write_text('note\n\n""\nx\n')
    syncing.sync(keys(tmp_path, columns={"note": "text"}))
    assert syncing.rows("SELECT note FROM landed ORDER BY 1 NULLS FIRST") == [
        (None,),
        ("",),
        ("x",),
    ]


TIMED_COLUMNS = {"id": "bigint", "at": "timestamptz"}


def test_rows_of_a_day_are_selected_from_one_file_in_the_datasets_time_zone(
    syncing: Syncing, tmp_path: Path
) -> None:
    # In Shanghai, 2025-10-01 begins at 16:00 UTC on the previous day.
    (tmp_path / "all.csv").write_text(
        "id,at\n1,2025-09-30 15:59:59.999999+00\n2,2025-09-30 16:00:00Z\n"
        "3,2025-10-01T23:59:59+08:00\n4,2025-10-02 00:00+0800\n5,\n"
    )
    source = keys(tmp_path, "*.csv", columns=TIMED_COLUMNS, day_column="at")
    for _ in range(2):
        first, second = syncing.sync(source, [DAY, NEXT_DAY], timezone="Asia/Shanghai")
        assert (first.error, second.error) == (None, None)
    assert syncing.rows("SELECT id FROM landed ORDER BY id") == [(2,), (3,), (4,)]


def test_a_monthly_file_is_split_into_days(syncing: Syncing, tmp_path: Path) -> None:
    (tmp_path / "2025-10.csv").write_text("id,day\n1,2025-10-01\n2,2025-10-02\n3,2025-10-02\n")
    source = keys(
        tmp_path, "{day:%Y-%m}.csv", columns={"id": "int", "day": "date"}, day_column="day"
    )
    syncing.sync(source, [DAY, NEXT_DAY, date(2025, 10, 3)])
    assert syncing.rows("SELECT day, count(*) FROM landed GROUP BY 1 ORDER BY 1") == [
        (DAY, 1),
        (NEXT_DAY, 2),
    ]


@pytest.mark.parametrize(
    ("kind", "form", "first", "second"),
    [
        ("date", "%Y/%m/%d", "2025/10/01", "2025/10/2"),
        ("date", "%b %d %Y", "Oct 1 2025", "oct 02 2025"),
        ("date", "%Y%m%d", "20251001", "20251002"),
        ("date", "%d/%m/%Y", "01/10/2025", "02/10/2025"),
        ("timestamp", "%d.%m.%Y %H:%M", "01.10.2025 00:00", "02.10.2025 23:59"),
        ("timestamp", "%Y%m%d%H%M%S%f", "20251001235959999", "20251002000000000"),
        ("timestamptz", "%d.%m.%Y %H:%M %z", "01.10.2025 23:00 +0000", "01.10.2025 23:00 -02:00"),
    ],
)
def test_the_day_column_can_have_any_format(
    syncing: Syncing, tmp_path: Path, kind: str, form: str, first: str, second: str
) -> None:
    (tmp_path / "all.csv").write_text(f"id,at\n1,{first}\n2,{second}\n3,{second}\n4,\n")
    columns = {"id": "int", "at": kind}
    source = keys(tmp_path, "*.csv", columns=columns, day_column="at", date_format=form)
    done = syncing.sync(source, [date(2025, 9, 30), DAY, NEXT_DAY])  # the last day is split
    assert [result.error for result in done] == [None, None, None]
    assert [result.counts and result.counts.rows_loaded for result in done] == [0, 1, 2]
    assert syncing.rows("SELECT id FROM landed ORDER BY 1") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("at", ["2025-10-01", "31/02/2025", "1/10", "01/10/2025 ", "10/13/2025"])
def test_a_value_in_another_format_than_date_format_is_rejected(
    syncing: Syncing, tmp_path: Path, at: str
) -> None:
    path = tmp_path / "2025-10-01.csv"
    path.write_text(f"id,at\n1,01/10/2025\n2,{at}\n")
    columns = {"id": "int", "at": "date"}
    source = keys(tmp_path, columns=columns, day_column="at", date_format="%d/%m/%Y")
    assert failure(syncing, source) == (
        f"dataset landed: {path} for 2025-10-01: the day_column 'at' contains {at!r}, which is not "
        "a date in the format '%d/%m/%Y'; correct the value, or 'date_format' in its defs.yaml"
    )


def test_a_date_of_another_day_than_that_of_the_path_is_rejected(
    syncing: Syncing, tmp_path: Path
) -> None:
    (tmp_path / "2025-10-01.csv").write_text("id,at\n1,10/01/2025\n")
    columns = {"id": "int", "at": "date"}
    source = keys(tmp_path, columns=columns, day_column="at", date_format="%d/%m/%Y")
    assert "whose day_column 'at' is '2025-01-10'" in failure(syncing, source)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("2025-10-02", "whose day_column 'day' is '2025-10-02'"),
        ("", "whose day_column 'day' is empty"),
        (
            "01.10.2025",
            "has the value '01.10.2025' in day_column 'day'; it must be a date written as ",
        ),
    ],
)
def test_a_daily_file_with_a_row_from_another_day_is_rejected(
    syncing: Syncing, tmp_path: Path, at: str, message: str
) -> None:
    (tmp_path / "2025-10-01.csv").write_text(f"id,day\n1,2025-10-01\n2,{at}\n")
    source = keys(tmp_path, columns={"id": "int", "day": "date"}, day_column="day")
    assert message in failure(syncing, source)


@pytest.mark.parametrize("at", ["2025-10-01 12:00", "2025-10-01 23:59:59.9999999+00"])
def test_an_instant_without_an_offset_or_with_nanoseconds_is_rejected(
    syncing: Syncing, tmp_path: Path, at: str
) -> None:
    (tmp_path / "all.csv").write_text(f"id,at\n1,{at}\n")
    source = keys(tmp_path, "all.csv", columns=TIMED_COLUMNS, day_column="at")
    assert "written as 2025-10-01 12:00:00+08:00, with an offset" in failure(syncing, source)


def test_a_file_of_many_blocks_is_loaded_completely(syncing: Syncing, tmp_path: Path) -> None:
    out = io.StringIO("id,amount,note\n")
    out.seek(0, io.SEEK_END)
    for n in range(200_000):
        out.write(f'{n},{n}.25,"line {n}\nof ""two"""\n')
    (tmp_path / "2025-10-01.csv.gz").write_bytes(gzip.compress(out.getvalue().encode(), 1))
    (done,) = syncing.sync(keys(tmp_path, "{day}.csv.gz"))
    assert done.counts is not None
    assert done.counts.rows_loaded == 200_000
    assert syncing.rows(
        "SELECT count(*) FROM landed WHERE note = 'line ' || id || E'\\nof \"two\"'"
    ) == [(200_000,)]
