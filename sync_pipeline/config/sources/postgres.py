"""Keys of `source: {type: postgres}`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync_pipeline.config.sources.common import (
    EnvironmentName,
    PositiveSeconds,
    SourceModel,
    TableName,
    check_selection,
)


class PostgresSource(SourceModel):
    """Rows from a table or a query of another PostgreSQL database, read-only."""

    type: Literal["postgres"] = "postgres"
    url_env: EnvironmentName = Field(description="environment variable with the source's URL")
    table: TableName | None = Field(default=None, description="source table, or schema.table")
    query: str | None = Field(default=None, description="a SELECT, in place of table")
    day_column: str = Field(description="column of type date, timestamp or timestamptz")
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="columns to copy, in order; all of them by default"
    )
    ready_query: str | None = Field(
        default=None,
        description="a SELECT of one value, with %(day)s for the day; false, 0, NULL or no row: "
        "the source is not ready, and the day fails",
    )
    max_connections: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="how many workers read this source at once, over all runs"
    )
    connect_timeout_seconds: Annotated[int, Field(ge=2, le=600)] = 10
    statement_timeout_seconds: PositiveSeconds = 3600

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
    def _one_of_table_and_query(self) -> "PostgresSource":
        check_selection(self.table, self.query, self.columns, self.day_column)
        return self
