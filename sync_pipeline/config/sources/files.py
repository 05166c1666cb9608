"""Keys of `source: {type: files}`."""

import codecs
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from sync_pipeline.config.sources.common import (
    EnvironmentName,
    NullWord,
    PositiveSeconds,
    SourceModel,
    StrictModel,
)
from sync_pipeline.config.sources.declared import DeclaredColumns
from sync_pipeline.config.sources.path_pattern import PathPattern, parts_of

FileFormat = Literal["csv", "jsonl", "parquet"]
Compression = Literal["none", "gzip", "zstd", "bz2"]

_FORMATS: dict[str, FileFormat] = {
    "csv": "csv",
    "tsv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
}
_COMPRESSIONS: dict[str, Compression] = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}


def _path(text: str) -> str:
    PathPattern(text)
    return text


def _marker(text: str) -> str:
    parts_of(text, ("day", "file"))
    if not text or text.startswith("/") or ".." in text.split("/"):
        raise ValueError("must be a name beside the file, such as _SUCCESS or {file}.done")
    return text


def _one_character(text: str) -> str:
    if len(text.encode()) != 1 or text in "\r\n":
        raise ValueError(f"{text!r} must be one ASCII character")
    return text


def _quote(text: str) -> str:
    return text if text == "" else _one_character(text)


def _encoding(name: str) -> str:
    try:
        "a".encode(name)
    except LookupError:
        raise ValueError(f"{name!r} is no encoding of text, such as utf-8 or gb18030") from None
    return codecs.lookup(name).name


def _endpoint(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@?#]+/?", url):
        raise ValueError("must be http://host:port or https://host:port, without a user or a path")
    return url.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class Ready(StrictModel):
    """When a file is whole. What is given must all hold."""

    marker: Annotated[str, AfterValidator(_marker)] | None = Field(
        default=None, description="a file beside it that says so; {file} and {day:…} stand in it"
    )
    settle_seconds: PositiveSeconds | None = Field(
        default=None, description="for how long it must not have changed"
    )

    @model_validator(mode="after")
    def _one_at_least(self) -> "Ready":
        if self.marker is None and self.settle_seconds is None:
            raise ValueError("give 'marker', 'settle_seconds', or both")
        return self


class Csv(StrictModel):
    """How a CSV file is written."""

    model_config = ConfigDict(str_strip_whitespace=False)  # a tab is a delimiter

    delimiter: Annotated[str, AfterValidator(_one_character)] | None = Field(
        default=None, description="between two fields; a comma, and for .tsv a tab"
    )
    quote: Annotated[str, AfterValidator(_quote)] = Field(
        default='"', description="around a field, doubled within it; '' if fields are never quoted"
    )
    header: bool = Field(
        default=True,
        description="whether the first row names the columns; if not they are those of 'columns', "
        "in that order",
    )
    null_values: tuple[str, ...] = Field(
        default=("",), description="what an unquoted field says in place of NULL"
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    largest_row_mib: Annotated[int, Field(ge=1, le=512)] = Field(
        default=1,
        description="how long a row may be; so much is read at once, and held a few times",
    )


class S3(StrictModel):
    """How S3, or what speaks like it, is reached. By default as the AWS tools would."""

    endpoint: Endpoint | None = Field(default=None, description="if it is not Amazon's")
    region: str | None = None
    access_key_env: EnvironmentName | None = Field(
        default=None, description="environment variable with the access key"
    )
    secret_key_env: EnvironmentName | None = Field(
        default=None, description="environment variable with the secret key"
    )
    session_token_env: EnvironmentName | None = Field(
        default=None, description="environment variable with a session's token"
    )
    anonymous: bool = Field(default=False, description="whether a public bucket is read unsigned")

    @model_validator(mode="after")
    def _both_keys_or_none(self) -> "S3":
        if (self.access_key_env is None) != (self.secret_key_env is None):
            raise ValueError("give both 'access_key_env' and 'secret_key_env', or neither")
        if self.session_token_env is not None and self.access_key_env is None:
            raise ValueError("'session_token_env' needs 'access_key_env' and 'secret_key_env'")
        if self.anonymous and self.access_key_env is not None:
            raise ValueError("give keys or 'anonymous', not both")
        return self


class Gcs(StrictModel):
    """How Google Cloud Storage is reached; by default with the application default credentials."""

    endpoint: Endpoint | None = Field(default=None, description="if it is not Google's")
    anonymous: bool = Field(default=False, description="whether a public bucket is read unsigned")


class FilesSource(SourceModel):
    """Rows from CSV, JSON Lines or Parquet files, on disk, in S3 or Google Cloud Storage."""

    type: Literal["files"] = "files"
    path: Annotated[str, AfterValidator(_path)] = Field(
        description="a path, s3://bucket/… or gs://bucket/…; {day:%Y/%m/%d} is the day, * any part "
        "of a name, ? one character; a relative one begins at the project's folder"
    )
    format: FileFormat | None = Field(
        default=None, description="csv, jsonl or parquet; by default as the path ends"
    )
    compression: Compression | None = Field(
        default=None,
        description="none, gzip, zstd or bz2, of csv and jsonl; by default as a file's name ends",
    )
    columns: DeclaredColumns | None = Field(
        default=None,
        description="the columns, each with its PostgreSQL type; parquet files know their own",
    )
    day_column: str = Field(
        default="sync_date",
        description="column of type date, timestamp or timestamptz; if the rows have it not, it "
        "is added with the day of the path",
    )
    extra_columns: Literal["fail", "ignore"] = Field(
        default="fail", description="what a column does that only the file has"
    )
    missing_columns: Annotated[
        Literal["fail", "null"],
        NullWord,
        WithJsonSchema({"enum": ["fail", "null", None]}),
    ] = Field(default="fail", description="what a column is that a csv or parquet file lacks")
    missing_file: Literal["not_ready", "empty"] = Field(
        default="not_ready", description="what a day without a file is"
    )
    ready: Ready | None = Field(default=None, description="when a file is whole")
    csv: Csv = Csv()
    s3: S3 = S3()
    gcs: Gcs = Gcs()

    @property
    def origin(self) -> str:
        return self.path

    @property
    def secret_settings(self) -> tuple[str, ...]:
        names = (self.s3.access_key_env, self.s3.secret_key_env, self.s3.session_token_env)
        return tuple(name for name in names if name)

    @property
    def pattern(self) -> PathPattern:
        """The path's parts."""
        return PathPattern(self.path)

    @property
    def file_format(self) -> FileFormat | None:
        """The format that is given, else the path's; None if it ends with none."""
        endings = [part for part in self.path.lower().split(".")[1:] if part not in _COMPRESSIONS]
        return self.format or (_FORMATS.get(endings[-1]) if endings else None)

    @property
    def delimiter(self) -> str:
        is_tsv = re.search(r"\.tsv(\.\w+)?\Z", self.path.lower())
        return self.csv.delimiter or ("\t" if is_tsv else ",")

    def compression_of(self, name: str) -> Compression:
        """Return how the file called `name` is compressed."""
        return self.compression or _COMPRESSIONS.get(name.lower().rpartition(".")[2], "none")

    @model_validator(mode="after")
    def _makes_sense(self) -> "FilesSource":
        if self.file_format is None:
            raise ValueError("give 'format': csv, jsonl or parquet; the path does not end with one")
        if self.columns is None and self.file_format != "parquet":
            raise ValueError(
                f"'columns' must declare the columns of {self.file_format} files with their types, "
                "such as {id: bigint}; what is guessed from one file is wrong for the next"
            )
        if self.columns and not self.pattern.is_daily and self.day_column not in self.columns:
            raise ValueError(
                f"'columns' must contain the day_column {self.day_column!r}, since the path is not "
                "another for each day; add it, or the day to the path: {day:%Y-%m-%d}"
            )
        if self.ready and "{day" in (self.ready.marker or "") and not self.pattern.is_daily:
            raise ValueError("the ready marker has a day in it, but the path has not")
        for key, scheme in (("s3", "s3"), ("gcs", "gs")):
            if key in self.model_fields_set and self.pattern.scheme != scheme:
                raise ValueError(f"{key!r} goes with a path that begins with {scheme}://")
        if "csv" in self.model_fields_set and self.file_format != "csv":
            raise ValueError("'csv' goes with csv files")
        if self.compression and self.file_format == "parquet":
            raise ValueError("'compression' is of csv and jsonl files; parquet has its own within")
        return self
