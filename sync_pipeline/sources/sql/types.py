"""Map the types of SQLAlchemy's dialects to Arrow and PostgreSQL types.

A column whose values do not fit an Arrow type is read as text, and PostgreSQL parses it. Unknown
types are never guessed: the dataset must declare them. Does not convert values: see `values.py`.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import types as sa
from sqlalchemy.dialects import mssql, mysql

MYSQL = ("mysql", "mariadb")
_MAX_DIGITS = 38
_DAY_TYPES = {
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
}
_INTEGERS: dict[type[sa.TypeEngine[Any]], tuple[pa.DataType, pa.DataType]] = {
    mysql.TINYINT: (pa.int16(), pa.int16()),
    mysql.SMALLINT: (pa.int16(), pa.int32()),
    mysql.MEDIUMINT: (pa.int32(), pa.int32()),
    mysql.INTEGER: (pa.int32(), pa.int64()),
    mysql.BIGINT: (pa.int64(), pa.uint64()),
}
# The column type codes in MySQL's protocol. Text and binary types differ only in their charset.
_WIRE_TYPES: dict[int, type[sa.TypeEngine[Any]]] = {
    1: mysql.TINYINT,
    2: mysql.SMALLINT,
    3: mysql.INTEGER,
    4: mysql.FLOAT,
    5: mysql.DOUBLE,
    6: sa.Text,
    7: mysql.TIMESTAMP,
    8: mysql.BIGINT,
    9: mysql.MEDIUMINT,
    10: sa.Date,
    11: mysql.TIME,
    12: mysql.DATETIME,
    13: mysql.YEAR,
    245: sa.JSON,
}
_WIRE_BIT = 16
_WIRE_DECIMALS = (0, 246)
_WIRE_STRINGS = (15, 247, 248, 249, 250, 251, 252, 253, 254)
_UNSIGNED = 32
_BINARY_CHARSET = 63


@dataclass(frozen=True)
class Kind:
    """The Arrow type that a column is converted to.

    PostgreSQL parses a text column as the type `declared`, if given. If `bits` is true, each value
    is an integer's bytes, in big-endian order. `exact` is a zero to add to the column in SQL,
    because MySQL otherwise returns only six digits of a FLOAT.
    """

    arrow: pa.DataType
    declared: str | None = None
    bits: bool = False
    exact: str | None = None


def kind_of(found: sa.TypeEngine[Any] | None, dialect: str) -> Kind | None:
    """Return the `Kind` for a column type, or None if the type is unknown."""
    if isinstance(found, sa.Integer):
        return _integer_kind(found, dialect)
    if isinstance(found, mysql.BIT):
        kind = pa.bool_() if found.length == 1 else pa.uint64() if found.length == 64 else None
        return Kind(kind or pa.int64(), bits=True)
    if isinstance(found, mysql.YEAR):
        return Kind(pa.int16())
    if isinstance(found, sa.Float):  # double precision unless known to be single
        if isinstance(found, mysql.FLOAT) and (found.precision or 0) < 25:
            return Kind(pa.float32(), exact="0e0")
        return Kind(pa.float64())
    if isinstance(found, sa.Numeric):
        return _numeric_kind(found.precision, found.scale)
    return _other_kind(found, dialect)


def declare_type(kind: Kind | None, type_name: str, *, is_day: bool) -> Kind:
    """Return the `Kind` for a column whose PostgreSQL type the dataset declares.

    The day column keeps an Arrow type, so that each row's day can be checked.
    """
    bits, exact = (kind.bits, kind.exact) if kind else (False, None)
    if is_day and type_name in _DAY_TYPES:
        return Kind(_DAY_TYPES[type_name])
    return Kind(pa.string(), type_name, bits, exact)


def wire_type(field: object) -> sa.TypeEngine[Any] | None:
    """Return the type of a result column as described by pymysql, or None if it is unknown."""
    code, flags, length, scale, charset = (
        getattr(field, name) for name in ("type_code", "flags", "length", "scale", "charsetnr")
    )
    unsigned = bool(flags & _UNSIGNED)
    if code in _WIRE_DECIMALS:
        return mysql.DECIMAL(length - (scale > 0) - (not unsigned), scale)
    if code == _WIRE_BIT:
        return mysql.BIT(length)
    if code in _WIRE_STRINGS:
        return sa.LargeBinary() if charset == _BINARY_CHARSET else sa.Text()
    known = _WIRE_TYPES.get(code)
    found = known() if known is not None else None
    if unsigned and isinstance(found, sa.Integer):
        found.unsigned = True  # type: ignore[attr-defined]
    return found


def _integer_kind(found: sa.Integer, dialect: str) -> Kind:
    if dialect in MYSQL:
        unsigned = bool(getattr(found, "unsigned", False))
        for known, (signed_type, unsigned_type) in _INTEGERS.items():
            if isinstance(found, known):
                return Kind(unsigned_type if unsigned else signed_type)
    if dialect == "oracle":  # INTEGER has 38 digits
        return Kind(pa.string(), "numeric")
    if dialect == "sqlite":  # every integer type has 64 bits
        return Kind(pa.int64())
    if isinstance(found, sa.SmallInteger):
        return Kind(pa.int16())
    return Kind(pa.int32() if type(found) is sa.INTEGER else pa.int64())


def _numeric_kind(precision: int | None, scale: int | None) -> Kind:
    if precision is None:
        return Kind(pa.string(), "numeric")
    if precision > _MAX_DIGITS:
        return Kind(pa.string(), f"numeric({precision},{scale or 0})")
    return Kind(pa.decimal128(precision, scale or 0))


def _other_kind(found: sa.TypeEngine[Any] | None, dialect: str) -> Kind | None:
    if isinstance(found, sa.DateTime):
        instant = found.timezone or isinstance(found, (mysql.TIMESTAMP, mssql.DATETIMEOFFSET))
        return Kind(pa.timestamp("us", "UTC" if instant else None))
    if isinstance(found, sa.Time):  # in MySQL it may exceed 24 hours or be negative
        return Kind(pa.duration("us") if dialect in MYSQL else pa.time64("us"))
    if isinstance(found, sa.JSON):
        return Kind(pa.string(), "jsonb")
    if isinstance(found, sa.Uuid):
        return Kind(pa.string(), "uuid")
    for known, arrow in _PLAIN:
        if isinstance(found, known):
            return Kind(arrow)
    return None


_PLAIN: tuple[tuple[type[sa.TypeEngine[Any]], pa.DataType], ...] = (
    (sa.Boolean, pa.bool_()),
    (sa.Date, pa.date32()),
    (sa.Interval, pa.duration("us")),
    (sa.String, pa.string()),  # includes Enum
    (sa._Binary, pa.binary()),
)
