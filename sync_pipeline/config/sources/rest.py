"""Keys of `source: {type: rest}`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from sync_pipeline.config.sources.common import (
    EnvironmentName,
    NullWord,
    PositiveSeconds,
    SourceModel,
)
from sync_pipeline.config.sources.declared import DeclaredColumns
from sync_pipeline.config.sources.json_path import JsonPath
from sync_pipeline.config.sources.placeholders import checked_template
from sync_pipeline.config.sources.rest_auth import Auth
from sync_pipeline.config.sources.rest_pages import Cursor, Paginator
from sync_pipeline.config.sources.rest_url import HttpUrl

Status = Annotated[int, Field(ge=201, le=599)]
_Json = str | int | float | bool | None


class RestSource(SourceModel):
    """Rows from JSON over HTTP. Placeholders for the day stand in path, params and body."""

    type: Literal["rest"]
    base_url: HttpUrl | None = Field(default=None, description="where the API begins")
    base_url_env: EnvironmentName | None = Field(
        default=None, description="in place of base_url: environment variable with it"
    )
    path: Annotated[str, AfterValidator(checked_template)] = Field(
        default="", description="what follows the base URL"
    )
    method: Literal["GET", "POST"] = "GET"
    params: Annotated[dict[str, _Json | list[_Json]], AfterValidator(checked_template)] = Field(
        default_factory=dict, description="the query; a list gives a parameter several times"
    )
    body: Annotated[dict[str, Any], AfterValidator(checked_template)] | None = Field(
        default=None, description="the JSON that a POST sends"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="headers of every request; none of them secret"
    )
    auth: Auth | None = Field(default=None, description="how the API knows who asks")
    paginator: Paginator = Field(description="how one page leads to the next")
    records: JsonPath = Field(description="JSONPath of the list of rows in an answer")
    columns: DeclaredColumns = Field(
        description="the rows' columns, each with its PostgreSQL type, such as numeric(10,2)"
    )
    paths: dict[str, JsonPath] = Field(
        default_factory=dict,
        description="JSONPath in the row of a column whose field has another name, or lies deeper",
    )
    absent_fields: Annotated[
        Literal["refuse", "null"],
        NullWord,
        WithJsonSchema({"enum": ["refuse", "null", None]}),
    ] = Field(default="refuse", description="what a row becomes that lacks a field of 'columns'")
    day_column: str = Field(
        default="sync_date",
        description="column of type date, timestamp or timestamptz; if 'columns' has it not, it "
        "is added with the day",
    )
    count: JsonPath | None = Field(
        default=None, description="JSONPath of how many rows the day has in all, to be compared"
    )
    not_ready_statuses: tuple[Status, ...] = Field(
        default=(), description="HTTP statuses that mean that the day is not there yet, such as 404"
    )
    ready: dict[JsonPath, _Json] = Field(
        default_factory=dict, description="JSONPaths of an answer, and what they say once ready"
    )
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        default=None, description="at most so many requests a second, by each worker"
    )
    timeout_seconds: PositiveSeconds = Field(
        default=60, description="how long the server may be silent"
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="how often a request is tried, before the day is tried anew"
    )
    max_backoff_seconds: PositiveSeconds = Field(
        default=60, description="the longest Retry-After that is waited for"
    )
    max_page_megabytes: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=256, description="a larger answer is refused; a page is held in memory"
    )

    @property
    def origin(self) -> str:
        """`$NAME` in place of an address that stands in the environment."""
        base = self.base_url or f"${self.base_url_env}"
        return f"{base}/{self.path.lstrip('/')}" if self.path else base

    @property
    def secret_settings(self) -> tuple[str, ...]:
        base = (self.base_url_env,) if self.base_url_env else ()
        return base + (self.auth.secret_settings if self.auth else ())

    @model_validator(mode="after")
    def _that_fits_together(self) -> "RestSource":
        if (self.base_url is None) == (self.base_url_env is None):
            raise ValueError("give exactly one of 'base_url' and 'base_url_env'")
        if "://" in self.path or "?" in self.path:
            raise ValueError("'path' is what follows the base URL, and its query is 'params'")
        if self.method != "POST" and (self.body is not None or _in_body(self.paginator)):
            raise ValueError("'body', and a cursor in it, need method: POST")
        if any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("'headers' hold no secrets; give Authorization as 'auth'")
        _check_columns(self.columns, self.paths)
        return self


def _in_body(paginator: Paginator) -> bool:
    return isinstance(paginator, Cursor) and paginator.body_path is not None


def _check_columns(columns: dict[str, str], paths: dict[str, str]) -> None:
    for name, kind in columns.items():
        if kind.endswith("[]"):
            raise ValueError(f"column {name!r} is of type {kind}; declare a JSON list as jsonb")
    unknown = sorted(set(paths) - set(columns))
    if unknown:
        raise ValueError(f"'paths' names {unknown[0]!r}, which 'columns' does not declare")
