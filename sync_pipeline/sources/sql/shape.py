"""What a `sql` source selects: its columns, what they become, and the statements of a day."""

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
from sync_pipeline.sources.sql.types import MYSQL, Kind, as_declared, kind_of, wire_type

_WARNINGS = threading.Lock()  # filters are of the process, sources are opened by threads
_PERCENT = re.compile(r"%(\(day\)s|%|)")


@dataclass(frozen=True)
class SqlShape:
    """The columns in order with what each becomes, and where they are selected from."""

    kinds: dict[str, Kind]
    rows: sa.FromClause | sa.TextClause

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, kind.arrow) for name, kind in self.kinds.items()])

    @property
    def declared(self) -> dict[str, str]:
        return {name: kind.declared for name, kind in self.kinds.items() if kind.declared}


def shape_of(connection: sa.Connection, dataset: Dataset, keys: SqlSource) -> SqlShape:
    """Return what is selected, as the database describes it. Raises SourceError for columns that
    are not there or of unknown types, and SQLAlchemy's errors."""
    rows: sa.FromClause | sa.TextClause
    if keys.table is not None:
        schema, _, name = keys.table.rpartition(".")
        rows, found = sa.table(name, schema=schema or None), _of_table(connection, name, schema)
    else:
        # An outer parenthesis on a line of its own: the query may end with a comment.
        rows = sa.text(f"(\n{literal(keys.query or '')}\n) source_rows")
        found = _of_query(connection, dataset, rows)
    return SqlShape(_kinds(dataset, keys, found, connection.dialect.name), rows)


def literal(query: str) -> str:
    """Return a query for `sqlalchemy.text` in which a colon is no parameter."""
    return query.replace(":", r"\:")


def ready_statement(query: str, day: date, dataset: Dataset) -> sa.TextClause:
    """Return a `ready_query` with the day for each %(day)s. Raises SourceError for any other %."""

    def replaced(found: re.Match[str]) -> str:
        if not found[1]:
            raise SourceError(
                f"dataset {dataset.name}: its ready_query takes %(day)s and nothing else; write "
                "any other % as %%"
            )
        return "%" if found[1] == "%" else ":day"

    statement = sa.text(_PERCENT.sub(replaced, literal(query)))
    if "%(day)s" in query:
        return statement.bindparams(sa.bindparam("day", day, sa.Date()))
    return statement


def day_of(
    shape: SqlShape, day: date, dataset: Dataset, dialect: str
) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Return the statements of the count, and of the rows, of `day`."""
    name = dataset.source.day_column
    kind = shape.kinds[name].arrow
    # Nothing is done to the column itself, so that an index on it serves the range.
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
class Strays:
    """What finds one value of the day column that no day's range would, looking at all rows; and
    how such a value must be written."""

    statement: sa.Select[Any]
    promised: str


def strays_of(shape: SqlShape, dataset: Dataset, dialect: str) -> Strays | None:
    """Return how days that would be missed are found; None where the database holds every value to
    its column's type, as all but SQLite do."""
    if dialect != "sqlite":
        return None
    name = dataset.source.day_column
    kind = shape.kinds[name].arrow
    column: sa.ColumnElement[Any] = sa.column(name)
    stray: sa.ColumnElement[bool]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        stray = sa.func.typeof(column).in_(["text", "blob"])
        promised = "a number of seconds since 1970"
    else:
        text = sa.func.substr(column, 1, 10)
        # Without a change of 0 days, SQLite gives 2025-02-30 back as it is.
        stray = text.is_distinct_from(sa.func.date(text, "+0 days"))
        promised = "text that begins as 2025-10-01"
    # Without a day, a row belongs to none.
    stray = sa.and_(column.is_not(None), stray)
    return Strays(sa.select(column).select_from(shape.rows).where(stray).limit(1), promised)


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
            return sa.literal(value.strftime("%Y-%m-%d"))  # before any time of that day
        if isinstance(value, datetime):
            if dialect in MYSQL:  # the session's zone is UTC
                value = value.replace(tzinfo=None)
            return sa.literal(value, sa.DateTime(timezone=instants))
        return sa.literal(value, sa.Date())

    return bound(bounds.lower), bound(bounds.upper)


def _of_table(
    connection: sa.Connection, name: str, schema: str
) -> dict[str, TypeEngine[Any] | None]:
    with (
        _WARNINGS,
        warnings.catch_warnings(),
    ):  # of a type that it does not know, which is said below
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        columns = sa.inspect(connection).get_columns(name, schema or None)
    return {
        column["name"]: None if isinstance(column["type"], sa.types.NullType) else column["type"]
        for column in columns
    }


def _of_query(
    connection: sa.Connection, dataset: Dataset, rows: sa.TextClause
) -> dict[str, TypeEngine[Any] | None]:
    statement: sa.Select[Any] = (
        sa.select(sa.literal_column("*")).select_from(rows).where(sa.text("1 = 0"))
    )
    with connection.execute(statement) as result:
        names = list(result.keys())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SourceError(
                f"dataset {dataset.name}: its query returns two columns named {twice[0]!r}; "
                "name one otherwise with AS in its defs.yaml"
            )
        # pymysql's own description: the standard one lacks signs and charsets.
        fields = getattr(getattr(result.cursor, "_result", None), "fields", None)
        return dict.fromkeys(names) if not fields else {f.name: wire_type(f) for f in fields}


def _kinds(
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
        kinds[name] = as_declared(kinds[name], types[name], is_day=is_day)
    unknown = [name for name, kind in kinds.items() if kind is None]
    if unknown:
        raise SourceError(
            f"dataset {dataset.name}: the types of these columns of {keys.origin} are not known: "
            f"{', '.join(unknown)}; declare each under 'types', such as {{{unknown[0]}: text}}, or "
            "leave it out with 'columns'"
        )
    return {name: kind for name, kind in kinds.items() if kind is not None}
