"""The keys of `source: {type: postgres}`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync_pipeline.config.sources.strict_model import (
    EnvironmentName,
    PositiveSeconds,
    SourceModel,
    TableName,
    check_selection,
)


class PostgresSource(SourceModel):
    """Rows from a table, a view or a query in another PostgreSQL database. Sessions are
    read-only."""

    type: Literal["postgres"] = Field(default="postgres", description="the type of the source")
    url_env: EnvironmentName = Field(
        description="environment variable that contains the source's URL"
    )
    table: TableName | None = Field(
        default=None, description="source table or view, as `table` or `schema.table`"
    )
    query: str | None = Field(default=None, description="instead of `table`: a SELECT statement")
    day_column: str = Field(
        description="column that determines a row's day, of type date, timestamp or timestamptz"
    )
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="columns to copy, in order; by default all"
    )
    ready_query: str | None = Field(
        default=None,
        description="a SELECT that returns one value, with `%(day)s` for the day and `%%` for any "
        "other %; if it returns false, 0, NULL or no row, the source is not ready and the day "
        "fails",
    )
    max_connections: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="how many workers may read the source at the same time, across all runs; "
        "others wait; by default there is no limit",
    )
    connect_timeout_seconds: Annotated[int, Field(ge=2, le=600)] = Field(
        default=10, description="how long to wait for a connection"
    )
    statement_timeout_seconds: PositiveSeconds = Field(
        default=3600,
        description="how long a single statement may take, such as the one that reads a day",
    )

    @property
    def origin(self) -> str:
        return self.table or "query"

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.url_env,)

    @property
    def slots(self) -> tuple[str, int] | None:
        return None if self.max_connections is None else (self.url_env, self.max_connections)

    @model_validator(mode="after")
    def _check_selection(self) -> "PostgresSource":
        check_selection(self.table, self.query, self.columns, self.day_column)
        return self
