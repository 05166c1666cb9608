"""The field type for `columns`, which gives each column's PostgreSQL type for untyped sources."""

import re
from typing import Annotated

from pydantic import AfterValidator

_TYPE = re.compile(
    r"(?P<head>[a-z][\w .]*?)(?: ?(?P<bound>\(\d+(?:, ?\d+)?\))(?P<tail>[\w ]*))?(?P<array>\[\])?"
)
# Aliases of PostgreSQL types, each with the name that PostgreSQL prints instead.
_ALIASES = {
    "bool": "boolean",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float": "double precision",
    "float4": "real",
    "float8": "double precision",
    "decimal": "numeric",
    "varchar": "character varying",
    "char": "character",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}


COLUMN_NAME = "1 to 63 bytes, without blanks at either end"


def is_column_name(name: str) -> bool:
    """Return whether `columns` can declare a column with this name."""
    return bool(name) and name == name.strip() and len(name.encode()) <= 63


def _columns(columns: dict[str, str]) -> dict[str, str]:
    if not columns:
        raise ValueError("must contain at least one column with its type, such as {id: bigint}")
    for name, kind in columns.items():
        if not is_column_name(name):
            raise ValueError(f"{name!r} must be a name ({COLUMN_NAME})")
        if not _TYPE.fullmatch(kind.strip().lower()):
            raise ValueError(f"{kind!r} must be a PostgreSQL type, such as bigint or numeric(10,2)")
    return {name: _canonical_type(kind.strip().lower()) for name, kind in columns.items()}


def _canonical_type(kind: str) -> str:
    match = _TYPE.fullmatch(kind)
    assert match is not None  # noqa: S101  checked by the caller
    bound, tail = (match["bound"] or "").replace(" ", ""), match["tail"] or ""
    named = match["head"] if tail else _ALIASES.get(match["head"], match["head"])
    first, space, rest = named.partition(" ")
    if bound and first in ("time", "timestamp"):  # as in timestamp(3) with time zone
        named, bound = f"{first}{bound}{space}{rest}", ""
    return f"{named}{bound}{tail}{match['array'] or ''}"


DeclaredColumns = Annotated[dict[str, str], AfterValidator(_columns)]
