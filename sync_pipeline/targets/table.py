"""Create the target table with the source's columns, or check that the existing table matches.

Does not alter or drop a table; if it does not match, the error says what to change. New source
columns are added in `schema_change.py`.
"""

import logging
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from psycopg2 import errors, sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.database.named_sql import load
from sync_pipeline.errors import SettingError, TargetError
from sync_pipeline.sources.base import Column, CopyFormat, Shape
from sync_pipeline.targets import key
from sync_pipeline.targets.locks import lock_table
from sync_pipeline.targets.names import identifier, join_identifiers, quote
from sync_pipeline.targets.type_compatibility import format_for

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_logger = logging.getLogger(__name__)
_PARTITIONED = "p"
_TABLE_KINDS = ("r", _PARTITIONED)
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


@dataclass(frozen=True)
class _Location:
    oid: int | None
    kind: str | None
    schema: str | None
    user: str
    may_delete: bool


@dataclass(frozen=True)
class _TargetColumn:
    name: str
    type: str
    bare_type: str
    category: str
    generated: bool
    required: bool
    may_insert: bool
    may_select: bool
    may_update: bool


@dataclass(frozen=True)
class Table:
    """The target table: the fastest COPY format that it accepts, and whether it is partitioned."""

    copy_format: CopyFormat
    partitioned: bool


def check_types(cursor: "Cursor", dataset: Dataset, shape: Shape) -> None:
    """Raise SettingError if a column's type does not exist in the target database."""
    cursor.execute(
        load(__package__, "table.sql")["unknown_types"],
        {"types": [column.type for column in shape.columns]},
    )
    unknown = {name for (name,) in cursor.fetchall()}
    for column in shape.columns:
        if column.type in unknown:
            raise SettingError(
                f"dataset {dataset.name}: column {column.name!r} has the type {column.type}, which "
                "does not exist in the target database; correct the type in its defs.yaml, or "
                "create the type"
            )


def is_missing(cursor: "Cursor", dataset: Dataset) -> bool:
    """Return whether the target table is missing; if so, lock its name, so that no other process
    creates it before the transaction ends.

    Raises TargetError if this user lacks the privilege to use its schema.
    """
    if _find(cursor, dataset).oid is not None:
        return False
    lock_table(cursor, dataset.target.table)
    return _find(cursor, dataset).oid is None


def create_or_check(cursor: "Cursor", dataset: Dataset, shape: Shape) -> Table:
    """Create the dataset's target table for rows of `shape`, or check the existing one; return it.

    Runs in the caller's transaction; several processes may call it concurrently. Raises TargetError
    with all differences on one line, SettingError for an invalid key, and driver errors.
    """
    key.check_columns(dataset, shape)
    location = _find(cursor, dataset)
    if location.oid is None:
        lock_table(cursor, dataset.target.table)
        location = _find(cursor, dataset)  # the table may have been created in the meantime
    if location.oid is None:
        _create(cursor, dataset, shape, location)
        copy_format = CopyFormat.BINARY if shape.binary else CopyFormat.TEXT
        return Table(copy_format, partitioned=False)
    return _check(cursor, dataset, shape, location)


def _find(cursor: "Cursor", dataset: Dataset) -> _Location:
    schema, _, _ = dataset.target.table.rpartition(".")
    try:
        cursor.execute(
            load(__package__, "table.sql")["table"],
            {"table": identifier(dataset).as_string(cursor), "schema": schema or None},
        )
    except errors.InsufficientPrivilege as error:
        user = cursor.connection.info.user
        raise TargetError(
            f"dataset {dataset.name}: the target user {user} lacks permission to use "
            f"the schema {schema}; run: GRANT USAGE ON SCHEMA {quote(cursor, schema)} "
            f"TO {quote(cursor, user)}"
        ) from error
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  the query always returns one row
    return _Location(*row)


def _create(cursor: "Cursor", dataset: Dataset, shape: Shape, location: _Location) -> None:
    schema, _, _ = dataset.target.table.rpartition(".")
    if location.schema is None:
        what = f"schema {schema} does not exist" if schema else "no schema in search_path exists"
        fix = f"run: CREATE SCHEMA {quote(cursor, schema)}" if schema else "add one to target.table"
        raise TargetError(
            f"dataset {dataset.name}: cannot create the target table {dataset.target.table}: "
            f"{what} in the target database; {fix}"
        )
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type))
        for column in shape.columns
    ]
    if dataset.target.key:
        columns.append(sql.SQL("PRIMARY KEY ({})").format(join_identifiers(dataset.target.key)))
    try:
        cursor.execute(
            sql.SQL("CREATE TABLE {table} ({columns}); CREATE INDEX ON {table} ({day})").format(
                table=identifier(dataset),
                columns=sql.SQL(", ").join(columns),
                day=sql.Identifier(shape.day_column),
            )
        )
    except errors.InsufficientPrivilege as error:
        raise TargetError(
            f"dataset {dataset.name}: the target user {location.user} lacks permission to "
            f"create the table {dataset.target.table}; run: GRANT CREATE ON SCHEMA "
            f"{quote(cursor, location.schema)} TO {quote(cursor, location.user)}"
        ) from error


def _check(cursor: "Cursor", dataset: Dataset, shape: Shape, location: _Location) -> Table:
    table = dataset.target.table
    if location.kind not in _TABLE_KINDS:
        raise TargetError(
            f"dataset {dataset.name}: the target {table} is "
            f"{_KINDS.get(location.kind or '', 'not a table')}; rows can only be loaded into a "
            f"table. Set target.table to a table, or drop {table} so that a table is created"
        )
    assert location.oid is not None  # noqa: S101  the table exists
    cursor.execute(load(__package__, "table.sql")["columns"], {"oid": location.oid})
    found = {row[0]: _TargetColumn(*row) for row in cursor.fetchall()}
    differences = [
        difference
        for column in shape.columns
        if (difference := _difference(column, found.get(column.name))) is not None
    ]
    names = {column.name for column in shape.columns}
    differences += [
        f"column {extra.name!r} is not in the source and is NOT NULL without a default"
        for extra in found.values()
        if extra.required and extra.name not in names
    ]
    if differences:
        raise TargetError(
            f"dataset {dataset.name}: the target table {table} does not match the source: "
            f"{'; '.join(differences)}. Alter the table, or drop it so that it is created again"
        )
    _check_privileges(cursor, dataset, shape, location, found)
    key.check_table(cursor, dataset, location.oid)
    _warn_without_index(cursor, dataset, shape, location)
    formats = {_format_of(column, found[column.name]) for column in shape.columns}
    binary = shape.binary and formats == {CopyFormat.BINARY}
    return Table(CopyFormat.BINARY if binary else CopyFormat.TEXT, location.kind == _PARTITIONED)


def _difference(column: Column, found: _TargetColumn | None) -> str | None:
    if found is None:
        return f"column {column.name!r} ({column.type}) is missing"
    if found.generated:
        return f"column {column.name!r} is generated, but must be a plain column"
    if _format_of(column, found) is not None:
        return None
    return f"column {column.name!r} is {found.type}, but must be {column.type}"


def _format_of(column: Column, found: _TargetColumn) -> CopyFormat | None:
    return format_for(column.type, found.type, found.bare_type, found.category)


def _check_privileges(
    cursor: "Cursor",
    dataset: Dataset,
    shape: Shape,
    location: _Location,
    found: dict[str, _TargetColumn],
) -> None:
    target = dataset.target
    columns = [found[column.name] for column in shape.columns]
    changed = [column for column in columns if column.name not in target.key]
    compared = columns if target.key else [found[shape.day_column]]
    may = {
        "SELECT": all(column.may_select for column in compared),
        "INSERT": all(column.may_insert for column in columns),
        "UPDATE": target.write != "upsert" or all(column.may_update for column in changed),
        "DELETE": target.write != "replace_day" or location.may_delete,
    }
    missing = [privilege for privilege, granted in may.items() if not granted]
    if missing:
        raise TargetError(
            f"dataset {dataset.name}: the target user {location.user} lacks permission to "
            f"write to the table {dataset.target.table}; run: GRANT {', '.join(missing)} ON "
            f"{identifier(dataset).as_string(cursor)} TO {quote(cursor, location.user)}"
        )


def _warn_without_index(
    cursor: "Cursor", dataset: Dataset, shape: Shape, location: _Location
) -> None:
    cursor.execute(
        load(__package__, "table.sql")["day_is_indexed"],
        {"oid": location.oid, "day": shape.day_column},
    )
    row = cursor.fetchone()
    if row is not None and not row[0]:
        _warn_once(
            f"dataset {dataset.name}: the target table {dataset.target.table} has no index on "
            f"{shape.day_column!r}, so each sync scans the whole table; run: CREATE INDEX ON "
            f"{identifier(dataset).as_string(cursor)} ({quote(cursor, shape.day_column)})"
        )


@cache
def _warn_once(message: str) -> None:
    """Log a warning once per process."""
    _logger.warning("%s", message)
