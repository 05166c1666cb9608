"""The target table: made like the source if it is missing, else found fit to take its rows.

Nothing is ever altered or dropped here. A table that does not fit is the user's to change, and the
message says how.
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
from sync_pipeline.targets.names import identifier, listed, quoted
from sync_pipeline.targets.type_compatibility import format_for

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_logger = logging.getLogger(__name__)
_PARTITIONED = "p"
_TABLE_KINDS = ("r", _PARTITIONED)
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


@dataclass(frozen=True)
class _Place:
    oid: int | None
    kind: str | None
    schema: str | None
    user: str
    may_delete: bool


@dataclass(frozen=True)
class _Found:
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
    """The target table as it was made or found: the fastest format that it takes the rows in, and
    whether it is partitioned."""

    copy_format: CopyFormat
    partitioned: bool


def check_types(cursor: "Cursor", dataset: Dataset, shape: Shape) -> None:
    """Raise SettingError for a column of a type that the target's PostgreSQL does not have."""
    cursor.execute(
        load(__package__, "table.sql")["unknown_types"],
        {"types": [column.type for column in shape.columns]},
    )
    unknown = {name for (name,) in cursor.fetchall()}
    for column in shape.columns:
        if column.type in unknown:
            raise SettingError(
                f"dataset {dataset.name}: column {column.name!r} is of type {column.type}, which "
                "the target's PostgreSQL does not know; correct the type in its defs.yaml, or "
                "create it there"
            )


def is_missing(cursor: "Cursor", dataset: Dataset) -> bool:
    """Return whether the dataset has no target table. If so, none is made by another process before
    the caller's transaction ends. Raises TargetError if its schema may not be looked into."""
    if _look(cursor, dataset).oid is not None:
        return False
    lock_table(cursor, dataset.target.table)
    return _look(cursor, dataset).oid is None


def make_or_check(cursor: "Cursor", dataset: Dataset, shape: Shape) -> Table:
    """Make the dataset's target table for rows of `shape`, or check the one that is there; return
    what it is.

    Works in the caller's transaction; several processes may do it at once. Raises TargetError
    with all that does not fit, in one line, SettingError for a wrong key, and the driver's errors.
    """
    key.check_columns(dataset, shape)
    place = _look(cursor, dataset)
    if place.oid is None:
        lock_table(cursor, dataset.target.table)
        place = _look(cursor, dataset)  # another may have made it while this one waited
    if place.oid is None:
        _create(cursor, dataset, shape, place)
        taken = CopyFormat.BINARY if shape.binary else CopyFormat.TEXT
        return Table(taken, partitioned=False)
    return _check(cursor, dataset, shape, place)


def _look(cursor: "Cursor", dataset: Dataset) -> _Place:
    schema, _, _ = dataset.target.table.rpartition(".")
    try:
        cursor.execute(
            load(__package__, "table.sql")["table"],
            {"table": identifier(dataset).as_string(cursor), "schema": schema or None},
        )
    except errors.InsufficientPrivilege as error:
        user = cursor.connection.info.user
        raise TargetError(
            f"dataset {dataset.name}: the target's user {user} may not look into schema {schema}; "
            f"run: GRANT USAGE ON SCHEMA {quoted(cursor, schema)} TO {quoted(cursor, user)}"
        ) from error
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  the query always gives one row
    return _Place(*row)


def _create(cursor: "Cursor", dataset: Dataset, shape: Shape, place: _Place) -> None:
    schema, _, _ = dataset.target.table.rpartition(".")
    if place.schema is None:
        what = f"schema {schema} does not exist" if schema else "its search_path names no schema"
        fix = f"run: CREATE SCHEMA {quoted(cursor, schema)}" if schema else "name one in 'table'"
        raise TargetError(
            f"dataset {dataset.name}: cannot make the target table {dataset.target.table}: {what} "
            f"in the target database; {fix}"
        )
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type))
        for column in shape.columns
    ]
    if dataset.target.key:
        columns.append(sql.SQL("PRIMARY KEY ({})").format(listed(dataset.target.key)))
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
            f"dataset {dataset.name}: the target's user {place.user} may not make the table "
            f"{dataset.target.table}; run: GRANT CREATE ON SCHEMA "
            f"{quoted(cursor, place.schema)} TO {quoted(cursor, place.user)}"
        ) from error


def _check(cursor: "Cursor", dataset: Dataset, shape: Shape, place: _Place) -> Table:
    table = dataset.target.table
    if place.kind not in _TABLE_KINDS:
        raise TargetError(
            f"dataset {dataset.name}: the target {table} is "
            f"{_KINDS.get(place.kind or '', 'not a table')}, rows can be loaded into a table only; "
            "name a table in 'target', or drop this and let one be made"
        )
    assert place.oid is not None  # noqa: S101  the caller looked
    cursor.execute(load(__package__, "table.sql")["columns"], {"oid": place.oid})
    found = {row[0]: _Found(*row) for row in cursor.fetchall()}
    differences = [_difference(column, found.get(column.name)) for column in shape.columns]
    names = {column.name for column in shape.columns}
    differences += [
        f"column {extra.name!r} is not in the source and is NOT NULL without a default"
        for extra in found.values()
        if extra.required and extra.name not in names
    ]
    told = [difference for difference in differences if difference]
    if told:
        raise TargetError(
            f"dataset {dataset.name}: the target table {table} does not fit the source: "
            f"{'; '.join(told)}. Alter the table, or drop it and it will be made anew"
        )
    _check_privileges(cursor, dataset, shape, place, found)
    key.check_table(cursor, dataset, place.oid)
    _warn_without_index(cursor, dataset, shape, place)
    taken = {_format_of(column, found[column.name]) for column in shape.columns}
    binary = shape.binary and taken == {CopyFormat.BINARY}
    return Table(CopyFormat.BINARY if binary else CopyFormat.TEXT, place.kind == _PARTITIONED)


def _difference(column: Column, found: _Found | None) -> str | None:
    if found is None:
        return f"column {column.name!r} ({column.type}) is missing"
    if found.generated:
        return f"column {column.name!r} is generated, it must be a plain column"
    if _format_of(column, found) is not None:
        return None
    return f"column {column.name!r} is {found.type}, it must be {column.type}"


def _format_of(column: Column, found: _Found) -> CopyFormat | None:
    return format_for(column.type, found.type, found.bare_type, found.category)


def _check_privileges(
    cursor: "Cursor", dataset: Dataset, shape: Shape, place: _Place, found: dict[str, _Found]
) -> None:
    target = dataset.target
    columns = [found[column.name] for column in shape.columns]
    changed = [column for column in columns if column.name not in target.key]
    compared = columns if target.key else [found[shape.day_column]]
    may = {
        "SELECT": all(column.may_select for column in compared),
        "INSERT": all(column.may_insert for column in columns),
        "UPDATE": target.write != "upsert" or all(column.may_update for column in changed),
        "DELETE": target.write != "replace_day" or place.may_delete,
    }
    missing = [privilege for privilege, granted in may.items() if not granted]
    if missing:
        raise TargetError(
            f"dataset {dataset.name}: the target's user {place.user} may not change the table "
            f"{dataset.target.table}; run: GRANT {', '.join(missing)} ON "
            f"{identifier(dataset).as_string(cursor)} TO {quoted(cursor, place.user)}"
        )


def _warn_without_index(cursor: "Cursor", dataset: Dataset, shape: Shape, place: _Place) -> None:
    cursor.execute(
        load(__package__, "table.sql")["day_is_indexed"],
        {"oid": place.oid, "day": shape.day_column},
    )
    row = cursor.fetchone()
    if row is not None and not row[0]:
        _warn_once(
            f"dataset {dataset.name}: the target table {dataset.target.table} has no index on "
            f"{shape.day_column!r}, every day reads all of it; run: CREATE INDEX ON "
            f"{identifier(dataset).as_string(cursor)} ({quoted(cursor, shape.day_column)})"
        )


@cache
def _warn_once(message: str) -> None:
    """Log a warning the first time this process has it to say."""
    _logger.warning("%s", message)
