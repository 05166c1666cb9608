"""The keys of `source: {type: sql}`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync_pipeline.config.sources.declared import DeclaredColumns
from sync_pipeline.config.sources.strict_model import (
    EnvironmentName,
    PositiveSeconds,
    SourceModel,
    check_selection,
)


class SqlSource(SourceModel):
    """Rows from a table, a view or a query in any database for which SQLAlchemy has a dialect."""

    type: Literal["sql"] = Field(default="sql", description="the type of the source")
    url_env: EnvironmentName = Field(
        description="environment variable that contains the SQLAlchemy URL, such as "
        "`mysql+pymysql://user:password@host/database`"
    )
    table: Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)?$")] | None = Field(
        default=None, description="source table or view, as `table` or `schema.table`"
    )
    query: str | None = Field(
        default=None,
        description="instead of `table`: a SELECT statement, without a `;` at the end",
    )
    day_column: str = Field(
        description="column that determines a row's day, of type date, timestamp or timestamptz"
    )
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="columns to copy, in order; by default all"
    )
    types: DeclaredColumns | None = Field(
        default=None,
        description="PostgreSQL types for some columns, overriding the detected types; for example "
        "`{paid: boolean}`",
    )
    ready_query: str | None = Field(
        default=None,
        description="a SELECT that returns one value, with `%(day)s` for the day and `%%` for any "
        "other %; if it returns false, 0, NULL or no row, the source is not ready and the day "
        "fails",
    )
    count: bool = Field(
        default=True,
        description="whether MySQL, MariaDB or SQLite also counts the rows of each day, in the "
        "snapshot that they are read from; the day fails if the numbers differ",
    )
    zero_dates: Literal["fail", "as_null"] = Field(
        default="fail",
        description="what to do with MySQL dates such as `0000-00-00`: `fail` fails the day, "
        "`as_null` writes NULL",
    )
    max_connections: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="how many workers may read the source at the same time, across all runs; "
        "others wait; by default there is no limit",
    )
    connect_timeout_seconds: Annotated[int, Field(ge=2, le=600)] = Field(
        default=10, description="how long to wait for a connection (MySQL and MariaDB)"
    )
    statement_timeout_seconds: PositiveSeconds = Field(
        default=3600, description="how long reading a day may take before it is aborted"
    )
    lock_timeout_seconds: PositiveSeconds = Field(
        default=30, description="how long to wait for a lock (MySQL, MariaDB and SQLite)"
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
    def _check_queries(self) -> "SqlSource":
        check_selection(self.table, self.query, self.columns, self.day_column)
        for key, query in (("query", self.query), ("ready_query", self.ready_query)):
            if query is not None and query.rstrip().endswith(";"):
                raise ValueError(f"'{key}' ends with ';'; remove the ';'")
        return self
