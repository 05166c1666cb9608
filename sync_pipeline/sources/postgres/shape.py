"""Read the columns of a PostgreSQL source from its catalog, and build its SELECT.

Columns of built-in PostgreSQL types are copied in binary format. Enums, composite types, extension
types and types that refer to the source's catalog (such as regclass) are copied as text. Does not
read any rows: see `source.py`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import PostgresSource
from sync_pipeline.database.named_sql import load
from sync_pipeline.errors import SourceError
from sync_pipeline.sources.base import Column, DayType, Shape

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


@dataclass(frozen=True)
class Selection:
    """A source's SELECT without a WHERE clause, its shape, and its name for messages."""

    name: str
    select: sql.SQL
    shape: Shape


@dataclass(frozen=True)
class _SourceColumn:
    name: str
    type: str
    binary: bool

    def column(self) -> Column:
        return Column(self.name, self.type if self.binary else "text")

    def expression(self) -> sql.Composable:
        name = sql.Identifier(self.name)
        return name if self.binary else sql.SQL("{}::text").format(name)


def select_columns(connection: "Connection", dataset: Dataset, source: PostgresSource) -> Selection:
    """Read the source's columns, check them against the dataset and return the selection.

    Raises SourceError if they do not match, and psycopg2.Error, for example if a permission is
    missing.
    """
    with connection.cursor() as cursor:
        if source.table is not None:
            name = f"table {source.table}"
            origin: sql.Composable = sql.Identifier(*source.table.split("."))
            found = _columns_of_table(cursor, dataset, source, origin)
        else:
            name = "the query"
            origin = sql.SQL("({}\n) AS source").format(sql.SQL(_check_query(dataset, source)))
            found = _columns_of_query(cursor, dataset, origin)
        chosen = _choose_columns(dataset, source, name, found)
        select = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join([column.expression() for column in chosen]), origin
        )
        day_type = _day_type(dataset, source, name, chosen)
        # Run the SELECT once to detect a missing permission before the target is changed.
        cursor.execute(select + sql.SQL(" LIMIT 0"))
    columns = tuple(column.column() for column in chosen)
    # Composed once, because composing a statement for each day takes as long as sending it.
    composed = sql.SQL(select.as_string(connection))
    return Selection(name, composed, Shape(columns, source.day_column, day_type))


def _check_query(dataset: Dataset, source: PostgresSource) -> str:
    query = source.query or ""
    if query.rstrip().endswith(";"):
        raise SourceError(
            f"dataset {dataset.name}: the query ends with ';'; remove the ';' in its defs.yaml"
        )
    return query


def _columns_of_table(
    cursor: "Cursor", dataset: Dataset, source: PostgresSource, table: sql.Composable
) -> list[_SourceColumn]:
    found = _read_columns(cursor, table=table.as_string(cursor))
    if not found:
        raise SourceError(
            f"dataset {dataset.name}: table {source.table} not found in the source; check "
            f"'table' in its defs.yaml (it is case-sensitive), and the database and search_path "
            f"in {source.url_env}"
        )
    return found


def _columns_of_query(
    cursor: "Cursor", dataset: Dataset, query: sql.Composable
) -> list[_SourceColumn]:
    cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(query))
    described = cursor.description or ()
    names = [column.name for column in described]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise SourceError(
            f"dataset {dataset.name}: the query returns two columns named {duplicates[0]!r}; "
            "rename one with AS in its defs.yaml"
        )
    return _read_columns(cursor, names=names, types=[column.type_code for column in described])


def _read_columns(
    cursor: "Cursor",
    *,
    table: str | None = None,
    names: list[str] | None = None,
    types: list[int] | None = None,
) -> list[_SourceColumn]:
    cursor.execute(
        load(__package__, "columns.sql")["columns"],
        {"table": table, "names": names or [], "types": types or []},
    )
    return [_SourceColumn(*row) for row in cursor.fetchall()]


def _choose_columns(
    dataset: Dataset, source: PostgresSource, name: str, found: list[_SourceColumn]
) -> list[_SourceColumn]:
    by_name = {column.name: column for column in found}
    wanted = source.columns or tuple(by_name)
    for key, names in (("columns", wanted), ("day_column", (source.day_column,))):
        for column in names:
            if column not in by_name:
                raise SourceError(
                    f"dataset {dataset.name}: {name} has no column {column!r}; correct '{key}' in "
                    f"its defs.yaml; the columns are {', '.join(by_name)}"
                )
    return [by_name[column] for column in wanted]


def _day_type(
    dataset: Dataset, source: PostgresSource, name: str, chosen: list[_SourceColumn]
) -> DayType:
    day_column = source.day_column
    found = next(column.type for column in chosen if column.name == day_column)
    # Drop the precision: "timestamp(3) with time zone" is also a timestamptz.
    plain = " ".join(word.partition("(")[0] for word in found.split())
    try:
        return DayType(plain)
    except ValueError:
        raise SourceError(
            f"dataset {dataset.name}: day_column {day_column!r} of {name} is of type {found}; "
            "choose a column of type date, timestamp or timestamptz, or cast it in a query"
        ) from None
