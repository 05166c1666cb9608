"""Keys of `source: {type: sql}`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync_pipeline.config.sources.common import (
    EnvironmentName,
    PositiveSeconds,
    SourceModel,
    check_selection,
)
from sync_pipeline.config.sources.declared import DeclaredColumns


class SqlSource(SourceModel):
    """Rows from a table or a query of any database that SQLAlchemy has a dialect for, read-only."""

    type: Literal["sql"] = "sql"
    url_env: EnvironmentName = Field(
        description="environment variable with a SQLAlchemy URL, such as "
        "mysql+pymysql://user:password@host/database"
    )
    table: Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)?$")] | None = Field(
        default=None, description="source table or view, or schema.table"
    )
    query: str | None = Field(default=None, description="a SELECT, in place of table")
    day_column: str = Field(description="column of type date, timestamp or timestamptz")
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="columns to copy, in order; all of them by default"
    )
    types: DeclaredColumns | None = Field(
        default=None,
        description="PostgreSQL types of columns, in place of those found, such as {paid: boolean}",
    )
    ready_query: str | None = Field(
        default=None,
        description="a SELECT of one value, with %(day)s for the day; false, 0, NULL or no row: "
        "the source is not ready, and the day fails",
    )
    count: bool = Field(
        default=True,
        description="whether the database also counts a day, in the snapshot that its rows are "
        "read from; MySQL, MariaDB and SQLite",
    )
    zero_dates: Literal["fail", "as_null"] = Field(
        default="fail", description="what becomes of MySQL's dates such as 0000-00-00"
    )
    max_connections: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="how many workers read this source at once, over all runs"
    )
    connect_timeout_seconds: Annotated[int, Field(ge=2, le=600)] = 10
    statement_timeout_seconds: PositiveSeconds = Field(
        default=3600, description="how long reading one day may take"
    )
    lock_timeout_seconds: PositiveSeconds = Field(
        default=30, description="how long to wait for a lock; MySQL, MariaDB and SQLite"
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
    def _consistent(self) -> "SqlSource":
        check_selection(self.table, self.query, self.columns, self.day_column)
        for key, query in (("query", self.query), ("ready_query", self.ready_query)):
            if query is not None and query.rstrip().endswith(";"):
                raise ValueError(f"'{key}' ends with ';'; remove the ';'")
        return self
