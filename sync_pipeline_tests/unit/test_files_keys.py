"""The keys of a `files` source: what they mean, and the errors for invalid ones."""

from typing import Any

import pytest
from pydantic import ValidationError

from sync_pipeline.config.sources import FilesSource
from sync_pipeline.config.sources.date_format import parse_date

pytestmark = pytest.mark.unit


def files(**keys: Any) -> FilesSource:
    merged = {"path": "{day}.csv", "columns": {"id": "bigint"}} | keys
    return FilesSource.model_validate({k: v for k, v in merged.items() if v is not None})


def dated(kind: str, form: str) -> dict[str, Any]:
    return {"columns": {"at": kind}, "day_column": "at", "date_format": form}


@pytest.mark.parametrize(
    ("path", "file_format", "delimiter"),
    [
        ("{day}.csv", "csv", ","),
        ("{day}.TSV.gz", "csv", "\t"),
        ("{day}.ndjson.zst", "jsonl", ","),
        ("{day}/*.snappy.parquet", "parquet", ","),
    ],
)
def test_the_format_is_the_suffix_of_the_path(path: str, file_format: str, delimiter: str) -> None:
    keys = files(path=path)
    assert (keys.file_format, keys.delimiter) == (file_format, delimiter)


def test_the_compression_is_the_suffix_of_the_file_unless_the_key_is_set() -> None:
    assert [files().compression_of(f"a.csv{end}") for end in ("", ".gz", ".zst", ".bz2")] == [
        "none",
        "gzip",
        "zstd",
        "bz2",
    ]
    assert files(compression="none").compression_of("a.csv.gz") == "none"


def test_a_tab_and_a_space_are_kept() -> None:
    csv = files(csv={"delimiter": "\t", "null_values": ["", " "]}).csv
    assert (csv.delimiter, csv.null_values) == ("\t", ("", " "))


def test_the_settings_that_contain_secrets_are_listed() -> None:
    s3 = {"access_key_env": "LAKE_KEY", "secret_key_env": "LAKE_SECRET"}
    assert files(path="s3://lake/{day}.csv", s3=s3).secret_settings == ("LAKE_KEY", "LAKE_SECRET")


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("date", "%j %y"),
        ("date", "%G-W%V-%u"),
        ("date", "%A, %d. %B %Y"),
        ("timestamp", "%Y%m%d"),
        ("timestamp", "%m/%d/%Y %I:%M %p"),
        ("timestamptz", "%Y-%m-%d %H:%M:%S.%f%z"),
    ],
)
def test_a_date_format_that_determines_a_day_is_accepted(kind: str, form: str) -> None:
    assert files(**dated(kind, form)).date_format == form


@pytest.mark.parametrize("text", ["2025111", "202511"])
def test_adjacent_numbers_need_all_their_digits(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' has too few digits"):
        parse_date(text, "%Y%m%d")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"columns": None}, "'columns' must declare the columns of csv files"),
        ({"path": "{day}"}, "set 'format'"),
        ({"path": "all.csv"}, "'columns' must contain the day_column 'sync_date'"),
        ({"ready": {}}, "set 'marker', 'settle_seconds', or both"),
        ({"ready": {"marker": "../done"}}, "must be a name in the same folder"),
        ({"ready": {"marker": "{name}"}}, "{name} is not supported"),
        (
            {"path": "all.parquet", "ready": {"marker": "{day}"}, "columns": None},
            "the ready marker contains the day",
        ),
        ({"csv": {"delimiter": ";;"}}, "';;' must be one ASCII character"),
        ({"csv": {"encoding": "utf-9"}}, "'utf-9' is not a text encoding"),
        ({"csv": {"encoding": "base64"}}, "'base64' is not a text encoding"),
        ({"path": "{day}.jsonl", "csv": {}}, "'csv' applies to CSV files only"),
        ({"s3": {"region": "x"}}, "'s3' requires a path that begins with s3://"),
        ({"gcs": {"anonymous": True}}, "'gcs' requires a path that begins with gs://"),
        ({"path": "s3://b/{day}.csv", "s3": {"access_key_env": "A"}}, "give both"),
        (
            {"path": "s3://b/{day}.csv", "s3": {"endpoint": "http://me:secret@host"}},
            "must be http://host:port",
        ),
        (
            {"path": "{day}.parquet", "compression": "gzip"},
            "Parquet files are compressed internally",
        ),
        (dated("date", "%Q"), "'%Q' must be a format such as %Y/%m/%d"),
        (dated("date", "%Y-%m-%d%"), "must be a format such as"),
        (dated("date", "%d.%m."), "must contain year, month and day"),
        (dated("date", "yyyy-mm-dd"), "must contain year, month and day"),
        (dated("timestamp", "%Y-%m-%d %I:%M"), "contains %I without %p"),
        (dated("timestamptz", "%Y-%m-%d %H:%M %Z"), "contains %Z, which is ambiguous"),
        (
            dated("timestamptz", "%Y-%m-%d %H:%M"),
            "must contain an offset, %z, if the day_column is a timestamptz",
        ),
        (dated("timestamp", "%Y-%m-%d %H:%M%z"), "'at' is a timestamp without time zone"),
        (
            dated("date", "%Y-%m-%d %H:%M"),
            "'date_format' contains a time, but the day_column 'at' is a date",
        ),
        ({"date_format": "%Y"}, "'%Y' must contain year, month and day"),
        ({"date_format": "%x"}, "'date_format' requires the day_column 'sync_date' in 'columns'"),
        ({"delimiter": ";"}, "unknown key 'delimiter'"),
    ],
)
def test_invalid_combinations_of_keys_are_rejected(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        files(**keys)
    assert message in str(caught.value)
