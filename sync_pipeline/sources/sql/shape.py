"""Read the columns of a `sql` source and build the statements that read a day.

Does not execute these statements: see `source.py`. Does not map types: see `types.py`.
"""

import re
import threading
import warnings
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.day_bounds import DayType, day_bounds
from sync_pipeline.config.sources import SqlSource
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.sql.types import MYSQL, Kind, declare_type, kind_of, wire_type

_WARNINGS = threading.Lock()  # warning filters are global, and threads open sources concurrently
_PERCENT = re.compile(r"%(\(day\)s|%|)")


@dataclass(frozen=True)
class SqlShape:
    """The kind of each column, in order, and the FROM clause that provides the columns."""

    kinds: dict[str, Kind]
    rows: sa.FromClause | sa.TextClause

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, kind.arrow) for name, kind in self.kinds.items()])

    @property
    def declared(self) -> dict[str, str]:
        return {name: kind.declared for name, kind in self.kinds.items() if kind.declared}


def read_shape(connection: sa.Connection, dataset: Dataset, keys: SqlSource) -> SqlShape:
    """Read the columns from the database. Raises SQLAlchemy errors, and SourceError if a column is
    missing or has an unknown type."""
    rows: sa.FromClause | sa.TextClause
    if keys.table is not None:
        schema, _, name = keys.table.rpartition(".")
        rows, found = (
            sa.table(name, schema=schema or None),
            _table_columns(connection, name, schema),
        )
    else:
        # The closing parenthesis is on a separate line because the query may end with a comment.
        rows = sa.text(f"(\n{escape_colons(keys.query or '')}\n) source_rows")
        found = _query_columns(connection, dataset, rows)
    return SqlShape(_choose_kinds(dataset, keys, found, connection.dialect.name), rows)


def escape_colons(query: str) -> str:
    """Escape a query's colons, which `sqlalchemy.text` would interpret as parameters."""
    return query.replace(":", r"\:")


def ready_statement(query: str, day: date, dataset: Dataset) -> sa.TextClause:
    """Return the statement for a `ready_query`, with `day` bound to %(day)s. Raises SourceError for
    any other %, unless it is written as %%."""

    def replace(found: re.Match[str]) -> str:
        if not found[1]:
            raise SourceError(
                f"dataset {dataset.name}: %(day)s is the only parameter allowed in ready_query; "
                "write any other % as %%"
            )
        return "%" if found[1] == "%" else ":day"

    statement = sa.text(_PERCENT.sub(replace, escape_colons(query)))
    if "%(day)s" in query:
        return statement.bindparams(sa.bindparam("day", day, sa.Date()))
    return statement


def day_statements(
    shape: SqlShape, day: date, dataset: Dataset, dialect: str
) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Return the statement that counts the rows of `day` and the one that selects them."""
    name = dataset.source.day_column
    kind = shape.kinds[name].arrow
    # Compare the bare column, so that an index on it can be used.
    lower, upper = _bounds(day, kind, dataset, dialect)
    within = sa.and_(sa.column(name) >= lower, sa.column(name) < upper)
    columns: list[sa.ColumnElement[Any]] = [
        (sa.column(name) + sa.literal_column(kind.exact)).label(name)
        if kind.exact
        else sa.column(name)
        for name, kind in shape.kinds.items()
    ]
    count = sa.select(sa.func.count()).select_from(shape.rows).where(within)
    return count, sa.select(*columns).select_from(shape.rows).where(within)


@dataclass(frozen=True)
class InvalidDayQuery:
    """A query for one invalid value in the day column, and a description of valid values. The query
    scans all rows."""

    statement: sa.Select[Any]
    expected: str


def invalid_day_query(shape: SqlShape, dataset: Dataset, dialect: str) -> InvalidDayQuery | None:
    """Return a query that finds a row which no day would include, or None if the database enforces
    column types, as all except SQLite do."""
    if dialect != "sqlite":
        return None
    name = dataset.source.day_column
    kind = shape.kinds[name].arrow
    column: sa.ColumnElement[Any] = sa.column(name)
    is_invalid: sa.ColumnElement[bool]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        is_invalid = sa.func.typeof(column).in_(["text", "blob"])
        expected = "a number of seconds since 1970"
    else:
        text = sa.func.substr(column, 1, 10)
        # Without "+0 days", SQLite returns 2025-02-30 unchanged.
        is_invalid = text.is_distinct_from(sa.func.date(text, "+0 days"))
        expected = "text that begins with a date such as 2025-10-01"
    # NULL is valid: such a row does not belong to any day.
    is_invalid = sa.and_(column.is_not(None), is_invalid)
    return InvalidDayQuery(
        sa.select(column).select_from(shape.rows).where(is_invalid).limit(1), expected
    )


def _bounds(
    day: date, kind: pa.DataType, dataset: Dataset, dialect: str
) -> tuple[sa.BindParameter[Any], sa.BindParameter[Any]]:
    instants = pa.types.is_timestamp(kind) and kind.tz is not None
    is_date = pa.types.is_date(kind)
    day_type = DayType.DATE if is_date else DayType.TIMESTAMPTZ if instants else DayType.TIMESTAMP
    bounds = day_bounds(day, day_type, dataset.zone)

    def bound(value: date | datetime) -> sa.BindParameter[Any]:
        if dialect == "sqlite":
            if instants and isinstance(value, datetime):
                return sa.literal(int(value.timestamp()))
            return sa.literal(value.strftime("%Y-%m-%d"))  # sorts before any time on that day
        if isinstance(value, datetime):
            if dialect in MYSQL:  # the session time zone is UTC
                value = value.replace(tzinfo=None)
            return sa.literal(value, sa.DateTime(timezone=instants))
        return sa.literal(value, sa.Date())

    return bound(bounds.lower), bound(bounds.upper)


def _table_columns(
    connection: sa.Connection, name: str, schema: str
) -> dict[str, TypeEngine[Any] | None]:
    with _WARNINGS, warnings.catch_warnings():
        # An unknown type is reported as an error by `_choose_kinds`.
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        columns = sa.inspect(connection).get_columns(name, schema or None)
    return {
        column["name"]: None if isinstance(column["type"], sa.types.NullType) else column["type"]
        for column in columns
    }


def _query_columns(
    connection: sa.Connection, dataset: Dataset, rows: sa.TextClause
) -> dict[str, TypeEngine[Any] | None]:
    statement: sa.Select[Any] = (
        sa.select(sa.literal_column("*")).select_from(rows).where(sa.text("1 = 0"))
    )
    with connection.execute(statement) as result:
        names = list(result.keys())
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise SourceError(
                f"dataset {dataset.name}: the query returns two columns named {duplicates[0]!r}; "
                "rename one with AS in its defs.yaml"
            )
        # pymysql's internal description: the standard one lacks the UNSIGNED flag and the charset.
        fields = getattr(getattr(result.cursor, "_result", None), "fields", None)
        return dict.fromkeys(names) if not fields else {f.name: wire_type(f) for f in fields}


def _choose_kinds(
    dataset: Dataset,
    keys: SqlSource,
    found: dict[str, TypeEngine[Any] | None],
    dialect: str,
) -> dict[str, Kind]:
    types, chosen = keys.types or {}, keys.columns or tuple(found)
    for key, names in (("columns", chosen), ("day_column", (keys.day_column,)), ("types", types)):
        for name in names:
            if name not in found:
                raise SourceError(
                    f"dataset {dataset.name}: {keys.origin} has no column {name!r}; correct "
                    f"'{key}' in its defs.yaml; the columns are {', '.join(found)}"
                )
    kinds = {name: kind_of(found[name], dialect) for name in chosen}
    for name in set(types) & set(kinds):
        is_day = name == keys.day_column
        kinds[name] = declare_type(kinds[name], types[name], is_day=is_day)
    unknown = [name for name, kind in kinds.items() if kind is None]
    if unknown:
        raise SourceError(
            f"dataset {dataset.name}: these columns of {keys.origin} have unknown types: "
            f"{', '.join(unknown)}; declare each under 'types', such as {{{unknown[0]}: text}}, or "
            "exclude it with 'columns'"
        )
    return {name: kind for name, kind in kinds.items() if kind is not None}
