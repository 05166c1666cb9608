"""The keys of `source: {type: rest}`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from sync_pipeline.config.sources.date_format import DateFormat, check_date_format
from sync_pipeline.config.sources.declared import DeclaredColumns
from sync_pipeline.config.sources.json_path import JsonPath
from sync_pipeline.config.sources.placeholders import check_template
from sync_pipeline.config.sources.rest_auth import Auth
from sync_pipeline.config.sources.rest_pages import Cursor, Paginator
from sync_pipeline.config.sources.rest_url import HttpUrl
from sync_pipeline.config.sources.strict_model import (
    EnvironmentName,
    NullWord,
    PositiveSeconds,
    SourceModel,
)

Status = Annotated[int, Field(ge=201, le=599)]
_Json = str | int | float | bool | None


class RestSource(SourceModel):
    """Rows from a JSON API. `path`, `params` and `body` may contain placeholders for the day."""

    type: Literal["rest"] = Field(description="the type of the source")
    base_url: HttpUrl | None = Field(
        default=None, description="base URL of the API, such as `https://api.example.com/v1`"
    )
    base_url_env: EnvironmentName | None = Field(
        default=None,
        description="instead of `base_url`: environment variable that contains the base URL",
    )
    path: Annotated[str, AfterValidator(check_template)] = Field(
        default="", description="path below the base URL, without the query"
    )
    method: Literal["GET", "POST"] = Field(default="GET", description="`GET` or `POST`")
    params: Annotated[dict[str, _Json | list[_Json]], AfterValidator(check_template)] = Field(
        default_factory=dict, description="query parameters; a list repeats the parameter"
    )
    body: Annotated[dict[str, Any], AfterValidator(check_template)] | None = Field(
        default=None, description="the JSON object that a `POST` sends"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="headers for every request; must not contain secrets"
    )
    auth: Auth | None = Field(default=None, description="how to authenticate to the API")
    paginator: Paginator = Field(description="how to get from one page to the next")
    records: JsonPath = Field(
        description="JSONPath of the list of rows in a response; `$` if the response is that list"
    )
    columns: DeclaredColumns = Field(
        description="columns of the rows, each with its PostgreSQL type, such as `numeric(10,2)`"
    )
    paths: dict[str, JsonPath] = Field(
        default_factory=dict,
        description="JSONPath (within a row) for each column whose field has another name or is "
        "nested",
    )
    absent_fields: Annotated[
        Literal["refuse", "null"],
        NullWord,
        WithJsonSchema({"enum": ["refuse", "null", None]}),
    ] = Field(
        default="refuse",
        description="what to do with a row that lacks the field for one of the `columns`: "
        "`refuse` fails the day, `null` writes NULL",
    )
    day_column: str = Field(
        default="sync_date",
        description="column that determines a row's day, of type date, timestamp or timestamptz; "
        "if `columns` does not contain it, it is added with the day",
    )
    date_format: DateFormat | None = Field(
        default=None,
        description="format of the `day_column` in the responses, such as `%d.%m.%Y` or "
        "`%Y%m%d`, with the directives of Python's `strptime`; by default ISO 8601",
    )
    count: JsonPath | None = Field(
        default=None,
        description="JSONPath of the day's total number of rows; the day fails if it differs from "
        "the number of rows read",
    )
    not_ready_statuses: tuple[Status, ...] = Field(
        default=(),
        description="HTTP status codes that mean that the day is not ready, such as `[404]`",
    )
    ready: dict[JsonPath, _Json] = Field(
        default_factory=dict,
        description="JSONPaths in the first response, each with the value that means that the day "
        "is ready",
    )
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        default=None,
        description="maximum number of requests per second for each worker; by default there is no "
        "limit",
    )
    timeout_seconds: PositiveSeconds = Field(
        default=60, description="how long to wait for data from the server"
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4,
        description="maximum number of attempts for a request; if the last one fails, the day is "
        "retried",
    )
    max_backoff_seconds: PositiveSeconds = Field(
        default=60, description="maximum `Retry-After` delay to wait for"
    )
    max_pages: Annotated[int, Field(ge=1)] = Field(
        default=100_000,
        description="maximum number of pages of a day; a day that has more fails",
    )
    max_page_megabytes: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=256,
        description="maximum size of a response, which is kept in memory; a larger response fails "
        "the day",
    )

    @property
    def origin(self) -> str:
        """The URL without its query; a base URL from the environment is shown as `$NAME`."""
        base = self.base_url or f"${self.base_url_env}"
        return f"{base}/{self.path.lstrip('/')}" if self.path else base

    @property
    def secret_settings(self) -> tuple[str, ...]:
        base = (self.base_url_env,) if self.base_url_env else ()
        return base + (self.auth.secret_settings if self.auth else ())

    @model_validator(mode="after")
    def _check_combinations(self) -> "RestSource":
        if (self.base_url is None) == (self.base_url_env is None):
            raise ValueError("give exactly one of 'base_url' and 'base_url_env'")
        if "://" in self.path or "?" in self.path:
            raise ValueError(
                "'path' is relative to the base URL and must not contain a query; use 'params' for "
                "the query's parameters"
            )
        if self.method != "POST" and (self.body is not None or _in_body(self.paginator)):
            raise ValueError("'body', or a cursor in it, needs method: POST")
        if any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("'headers' must not contain secrets; use 'auth' for Authorization")
        _check_columns(self.columns, self.paths)
        check_date_format(self.date_format, self.columns, self.day_column)
        return self


def _in_body(paginator: Paginator) -> bool:
    return isinstance(paginator, Cursor) and paginator.body_path is not None


def _check_columns(columns: dict[str, str], paths: dict[str, str]) -> None:
    for name, kind in columns.items():
        if kind.endswith("[]"):
            raise ValueError(f"column {name!r} is of type {kind}; declare a JSON list as jsonb")
    unknown = sorted(set(paths) - set(columns))
    if unknown:
        raise ValueError(f"'paths' contains {unknown[0]!r}, which 'columns' does not declare")
