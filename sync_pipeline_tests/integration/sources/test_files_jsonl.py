"""JSON Lines files are loaded with the types that the dataset declares, and numbers stay exact."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.sources.files import jsonl
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def keys(folder: Path, columns: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"type": "files", "path": f"{folder}/{{day}}.jsonl", "columns": columns} | more


def write(folder: Path, *lines: str, day: str = "2025-10-01") -> Path:
    path = folder / f"{day}.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "json_value", "expected"),
    [
        ("numeric", "0.1000000000000000000000000001", Decimal("0.1000000000000000000000000001")),
        ("numeric(20,2)", "1e3", Decimal("1000.00")),
        ("bigint", "9223372036854775807", 2**63 - 1),
        ("bigint", '"7"', 7),
        ("numeric", "1" * 5000, Decimal("1" * 5000)),
        ("double precision", "-Infinity", float("-inf")),
        ("boolean", "true", True),
        ("text", '""', ""),
        ("text", "null", None),
        ("text", "1.50", "1.50"),
        ("text", '{"a": [1.50, "x"]}', '{"a": [1.50, "x"]}'),
        ("text", r'"\ud83d\ude00\t\\N\n"', "😀\t\\N\n"),
        ("jsonb", '"a"', "a"),
        ("jsonb", '{"a": [NaN, -Infinity, 1]}', {"a": ["NaN", "-Infinity", 1]}),
        ("jsonb", "NaN", "NaN"),
        ("double precision[]", "[Infinity, 1]", [float("inf"), 1]),
        ("jsonb", "null", None),
        ("jsonb", '{"n": 12345678901234567890.5, "s": "日\\"", "b": [true, null]}', ...),
        ("integer[]", "[1, null, 3]", [1, None, 3]),
        ("integer[]", "[[1], [2]]", [[1], [2]]),
        ("text[]", r'["", "NULL", "a\"b\\c,{}", null]', ["", "NULL", 'a"b\\c,{}', None]),
        ("bytea", r'"\\x00ff"', b"\x00\xff"),
        ("timestamptz", '"2025-10-01T12:00:00+08:00"', ...),
    ],
)
def test_a_value_is_loaded_as_the_declared_type(
    syncing: Syncing, tmp_path: Path, kind: str, json_value: str, expected: Any
) -> None:
    write(tmp_path, f'{{"v": {json_value}}}')
    (done,) = syncing.sync(keys(tmp_path, {"v": kind}))
    assert done.error is None
    ((found,),) = syncing.rows("SELECT v FROM landed")
    if kind == "jsonb" and expected is ...:
        ((text,),) = syncing.rows("SELECT v ->> 'n' FROM landed")
        assert (text, found["s"], found["b"]) == ("12345678901234567890.5", '日"', [True, None])
    elif kind == "timestamptz":
        assert found.isoformat().startswith("2025-10-01T04:00:00")
    else:
        assert (bytes(found) if kind == "bytea" else found) == expected


@given(values=st.lists(JSON, min_size=1, max_size=8))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_json_value_is_loaded_exactly(
    syncing: Syncing, tmp_path: Path, values: list[Any]
) -> None:
    write(tmp_path, *(json.dumps({"n": n, "v": value}) for n, value in enumerate(values)))
    (done,) = syncing.sync(keys(tmp_path, {"n": "int", "v": "jsonb"}))
    is_rejected = "\\u0000" in json.dumps(values)
    assert done.outcome is (Outcome.FAILED if is_rejected else Outcome.SUCCESS)
    if not is_rejected:
        assert syncing.rows("SELECT v FROM landed ORDER BY n") == [(value,) for value in values]


def test_a_missing_key_is_null_and_blank_lines_are_skipped(
    syncing: Syncing, tmp_path: Path
) -> None:
    write(tmp_path, '\ufeff{"a": 1}', "", '  {"b": "x"}  ')
    (done,) = syncing.sync(keys(tmp_path, {"a": "int", "b": "text"}))
    assert done.counts is not None
    assert done.counts.rows_read == 2
    assert syncing.rows("SELECT * FROM landed ORDER BY a") == [(1, None, DAY), (None, "x", DAY)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ['{"a": 1}', '{"a": 1'],
            "line 2 is not valid JSON: Expecting ',' delimiter, at character 8",
        ),
        (['{"a": 1}', "", "[1]"], "line 3 is not a JSON object"),
        (['{"a": 1, "c": 2}'], "line 1 has a column 'c', which is not in 'columns'"),
        (
            ['{" b": 1}'],
            "line 1 has a column ' b', which 'columns' cannot declare; rename it in the file",
        ),
        (['{"": 1}'], "line 1 has a column '', which 'columns' cannot declare"),
        (['{"a": 1}', r'{"b": "\ud800"}'], "line 2 has a lone surrogate"),
        (['{"a": 1}', '{"a": 1, "b": "x", "a": 2}'], "line 2 has the key 'a' twice in one object"),
        ([r'{"a": 1, "\u0061": 1}'], "line 1 has the key 'a' twice in one object"),
        (['{"a": 1, "b": [{"c": 1, "c": 1}]}'], "line 1 has the key 'c' twice in one object"),
        (['{"a": 1}{"a": 2}'], "line 1 is not valid JSON: Extra data"),
        (['{"b": ' + "[" * 100_000 + "}"], "line 1 is nested too deeply"),
        (['{"a": "many"}'], 'integer: "many"'),
        ([r'{"b": "\u0000"}'], "0x00"),
    ],
)
def test_an_invalid_line_is_reported_with_its_number(
    syncing: Syncing, tmp_path: Path, lines: list[str], message: str
) -> None:
    path = write(tmp_path, *lines)
    (done,) = syncing.sync(keys(tmp_path, {"a": "int", "b": "text"}))
    assert done.outcome is Outcome.FAILED
    assert message in (done.error or "")
    if "line" in message:
        assert f"dataset landed: {path} for 2025-10-01, line " in (done.error or "")
    assert syncing.rows("SELECT count(*) FROM landed") == [(0,)]


def test_invalid_utf8_is_reported_with_its_line(syncing: Syncing, tmp_path: Path) -> None:
    (tmp_path / "2025-10-01.jsonl").write_bytes(b'{"b": "x"}\n{"b": "\xff"}\n')
    (done,) = syncing.sync(keys(tmp_path, {"b": "text"}))
    assert "line 2 is not valid UTF-8" in (done.error or "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_reported(syncing: Syncing, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "2025-10-01.jsonl"
    path.write_bytes('{"b": "x"}\n'.encode(encoding))
    (done,) = syncing.sync(keys(tmp_path, {"b": "text"}))
    assert (done.error or "") == (
        f"dataset landed: {path} for 2025-10-01 is encoded in {encoding.upper()}; convert the file "
        "to UTF-8, the encoding of JSON Lines"
    )


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"a": 2}]', "\n [\n", "[]\n", "\ufeff[", "[" + " " * 70_000_000]
)
def test_a_json_array_is_reported(syncing: Syncing, tmp_path: Path, text: str) -> None:
    path = tmp_path / "2025-10-01.jsonl"
    path.write_text(text, encoding="utf-8")
    (done,) = syncing.sync(keys(tmp_path, {"a": "int"}))
    assert (done.error or "").startswith(
        f"dataset landed: {path} for 2025-10-01 contains a JSON array; convert the file to JSON "
        "Lines, which has one object per line"
    )


def test_an_endless_line_is_not_kept_in_memory(syncing: Syncing, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "2025-10-01.jsonl.gz", "wb", 1) as file:
        file.write(b'{"b": "')
        for _ in range(2):
            file.write(b"x" * jsonl.LARGEST_LINE_BYTES)
    source = keys(tmp_path, {"b": "text"}, path=f"{tmp_path}/{{day}}.jsonl.gz")
    (done,) = syncing.sync(source)
    assert "line 1 is longer than 64 MiB" in (done.error or "")


def test_unknown_keys_can_be_ignored(syncing: Syncing, tmp_path: Path) -> None:
    write(tmp_path, '{"a": 1, "c": 2}')
    syncing.sync(keys(tmp_path, {"a": "int"}, extra_columns="ignore"))
    assert syncing.rows("SELECT * FROM landed") == [(1, DAY)]


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_number_can_be_the_day(syncing: Syncing, tmp_path: Path, quote: str) -> None:
    write(tmp_path, *(f'{{"a": {n}, "day": {quote}2025100{n}{quote}}}' for n in (1, 2)))
    source = keys(tmp_path, {"a": "int", "day": "date"}, day_column="day", date_format="%Y%m%d")
    syncing.sync(source | {"path": f"{tmp_path}/*.jsonl"}, [DAY, NEXT_DAY])
    assert syncing.rows("SELECT a, day FROM landed ORDER BY 1") == [(1, DAY), (2, NEXT_DAY)]


def test_rows_of_a_day_are_selected_from_a_file_of_several_days(
    syncing: Syncing, tmp_path: Path
) -> None:
    lines = [
        f'{{"a": {n}, "day": "2025-10-{1 + n % 2:02}"}}'
        for n in range(40_000)  # more than one batch
    ]
    write(tmp_path, *lines)
    source = keys(tmp_path, {"a": "int", "day": "date"}, day_column="day")
    syncing.sync(source | {"path": f"{tmp_path}/*.jsonl"}, [DAY, NEXT_DAY])
    assert syncing.rows("SELECT day, count(*), sum(a) FROM landed GROUP BY 1 ORDER BY 1") == [
        (DAY, 20_000, 399_980_000),
        (NEXT_DAY, 20_000, 400_000_000),
    ]
