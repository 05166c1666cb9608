"""The keys of `source: {type: files}`."""

import codecs
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from sync_pipeline.config.sources.date_format import DateFormat, check_date_format
from sync_pipeline.config.sources.declared import DeclaredColumns
from sync_pipeline.config.sources.path_pattern import PathPattern, parts_of
from sync_pipeline.config.sources.strict_model import (
    EnvironmentName,
    NullWord,
    PositiveSeconds,
    SourceModel,
    StrictModel,
)

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
        raise ValueError("must be a name in the same folder, such as _SUCCESS or {file}.done")
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
        raise ValueError(f"{name!r} is not a text encoding, such as utf-8 or gb18030") from None
    return codecs.lookup(name).name


def _endpoint(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@?#]+/?", url):
        raise ValueError("must be http://host:port or https://host:port, without a user or a path")
    return url.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class Ready(StrictModel):
    """How to tell that a file is complete. If both keys are set, both conditions must be met."""

    marker: Annotated[str, AfterValidator(_marker)] | None = Field(
        default=None,
        description="name of a file in the same folder that exists when the file is complete, such "
        "as `_SUCCESS`, `{file}.done` or `orders-{day:%Y%m%d}.ok`",
    )
    settle_seconds: PositiveSeconds | None = Field(
        default=None, description="how long the file must have been unchanged"
    )

    @model_validator(mode="after")
    def _check_conditions(self) -> "Ready":
        if self.marker is None and self.settle_seconds is None:
            raise ValueError("set 'marker', 'settle_seconds', or both")
        return self


class Csv(StrictModel):
    """The format of a CSV file."""

    model_config = ConfigDict(str_strip_whitespace=False)  # the delimiter may be a tab

    delimiter: Annotated[str, AfterValidator(_one_character)] | None = Field(
        default=None,
        description="character between two fields; by default a comma, or a tab for `.tsv`",
    )
    quote: Annotated[str, AfterValidator(_quote)] = Field(
        default='"',
        description="quote character, doubled within a field; `''` if fields are never quoted",
    )
    header: bool = Field(
        default=True,
        description="whether the first row contains the column names (blanks around a name are "
        "ignored); if not, the fields are those in `columns`, in that order",
    )
    null_values: tuple[str, ...] = Field(
        default=("",), description="unquoted values that mean NULL, except in the header"
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        default="utf-8", description="text encoding, such as `gb18030`"
    )
    largest_row_mib: Annotated[int, Field(ge=1, le=512)] = Field(
        default=1,
        description="maximum size of a row in MiB; files are read in blocks of this size, a few of "
        "which are kept in memory",
    )


class S3(StrictModel):
    """How to reach S3 or a compatible service. By default, the AWS environment is used."""

    endpoint: Endpoint | None = Field(
        default=None,
        description="`https://host:port` of a compatible service; by default Amazon's is used",
    )
    region: str | None = Field(
        default=None,
        description="region of the bucket; by default the one in the AWS environment",
    )
    access_key_env: EnvironmentName | None = Field(
        default=None,
        description="environment variable that contains the access key; by default the AWS "
        "credential chain is used",
    )
    secret_key_env: EnvironmentName | None = Field(
        default=None, description="environment variable that contains the secret key"
    )
    session_token_env: EnvironmentName | None = Field(
        default=None, description="environment variable that contains a session token"
    )
    anonymous: bool = Field(
        default=False, description="whether to read a public bucket without signing requests"
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> "S3":
        if (self.access_key_env is None) != (self.secret_key_env is None):
            raise ValueError("give both 'access_key_env' and 'secret_key_env', or neither")
        if self.session_token_env is not None and self.access_key_env is None:
            raise ValueError("'session_token_env' needs 'access_key_env' and 'secret_key_env'")
        if self.anonymous and self.access_key_env is not None:
            raise ValueError("give keys or 'anonymous', not both")
        return self


class Gcs(StrictModel):
    """How to reach Google Cloud Storage. By default, application default credentials are used."""

    endpoint: Endpoint | None = Field(
        default=None,
        description="`https://host:port` of a compatible service; by default Google's is used",
    )
    anonymous: bool = Field(
        default=False, description="whether to read a public bucket without credentials"
    )


class FilesSource(SourceModel):
    """Rows from CSV, JSON Lines or Parquet files on disk, in S3 or in Google Cloud Storage."""

    type: Literal["files"] = Field(default="files", description="the type of the source")
    path: Annotated[str, AfterValidator(_path)] = Field(
        description="path of the files: local, `s3://bucket/…` or `gs://bucket/…`; "
        "`{day:%Y/%m/%d}` is the day, `*` matches any part of a name, `?` matches one character; "
        "a relative path starts at the project's folder"
    )
    format: FileFormat | None = Field(
        default=None,
        description="`csv`, `jsonl` or `parquet`; by default determined from the path's extension",
    )
    compression: Compression | None = Field(
        default=None,
        description="`none`, `gzip`, `zstd` or `bz2`, for CSV and JSON Lines; by default "
        "determined from each file's extension",
    )
    columns: DeclaredColumns | None = Field(
        default=None,
        description="columns of the rows, each with its PostgreSQL type; by default those of the "
        "newest Parquet file; required for CSV and JSON Lines",
    )
    day_column: str = Field(
        default="sync_date",
        description="column that determines a row's day, of type date, timestamp or timestamptz; "
        "if the rows do not contain it, it is added with the day from the path",
    )
    date_format: DateFormat | None = Field(
        default=None,
        description="format of the `day_column` in the files, such as `%d.%m.%Y` or "
        "`%Y%m%d`, with the directives of Python's `strptime`; by default ISO 8601",
    )
    extra_columns: Literal["fail", "ignore"] = Field(
        default="fail",
        description="what to do with an additional column in a file: `fail` fails the day, "
        "`ignore` leaves the column out",
    )
    missing_columns: Annotated[
        Literal["fail", "null"],
        NullWord,
        WithJsonSchema({"enum": ["fail", "null", None]}),
    ] = Field(
        default="fail",
        description="what to do with a column that a CSV or Parquet file lacks: `fail` fails the "
        "day, `null` writes NULL",
    )
    missing_file: Literal["not_ready", "empty"] = Field(
        default="not_ready",
        description="what to do with a day that has no file: `not_ready` fails the day and keeps "
        "its rows, `empty` treats the day as having no rows (with `replace_day`, the existing "
        "ones are deleted)",
    )
    ready: Ready | None = Field(
        default=None,
        description="how to tell that a file is complete; by default it is complete if it exists",
    )
    csv: Csv = Field(default=Csv(), description="the format of CSV files")
    s3: S3 = Field(default=S3(), description="how to reach S3 or a compatible service")
    gcs: Gcs = Field(default=Gcs(), description="how to reach Google Cloud Storage")

    @property
    def origin(self) -> str:
        return self.path

    @property
    def secret_settings(self) -> tuple[str, ...]:
        names = (self.s3.access_key_env, self.s3.secret_key_env, self.s3.session_token_env)
        return tuple(name for name in names if name)

    @property
    def pattern(self) -> PathPattern:
        """The parsed path."""
        return PathPattern(self.path)

    @property
    def file_format(self) -> FileFormat | None:
        """The format that is set, or else the one implied by the path's extension; None if there
        is neither."""
        endings = [part for part in self.path.lower().split(".")[1:] if part not in _COMPRESSIONS]
        return self.format or (_FORMATS.get(endings[-1]) if endings else None)

    @property
    def delimiter(self) -> str:
        is_tsv = re.search(r"\.tsv(\.\w+)?\Z", self.path.lower())
        return self.csv.delimiter or ("\t" if is_tsv else ",")

    def compression_of(self, name: str) -> Compression:
        """Return how the file `name` is compressed."""
        return self.compression or _COMPRESSIONS.get(name.lower().rpartition(".")[2], "none")

    @model_validator(mode="after")
    def _check_combinations(self) -> "FilesSource":
        if self.file_format is None:
            raise ValueError(
                "set 'format' to csv, jsonl or parquet; the path's extension is not one of them"
            )
        if self.columns is None and self.file_format != "parquet":
            raise ValueError(
                f"'columns' must declare the columns of {self.file_format} files with their types, "
                "such as {id: bigint}; types inferred from one file can be wrong for the next"
            )
        if self.columns and not self.pattern.is_daily and self.day_column not in self.columns:
            raise ValueError(
                f"'columns' must contain the day_column {self.day_column!r}, because several days "
                "share a path; add the column, or add the day to the path: {day:%Y-%m-%d}"
            )
        check_date_format(self.date_format, self.columns, self.day_column)
        if self.ready and "{day" in (self.ready.marker or "") and not self.pattern.is_daily:
            raise ValueError("the ready marker contains the day, but the path does not")
        for key, scheme in (("s3", "s3"), ("gcs", "gs")):
            if key in self.model_fields_set and self.pattern.scheme != scheme:
                raise ValueError(f"{key!r} requires a path that begins with {scheme}://")
        if "csv" in self.model_fields_set and self.file_format != "csv":
            raise ValueError("'csv' applies to CSV files only")
        if self.compression and self.file_format == "parquet":
            raise ValueError(
                "'compression' applies to CSV and JSON Lines files; Parquet files are "
                "compressed internally"
            )
        return self
