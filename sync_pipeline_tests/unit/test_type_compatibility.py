"""Which target column types accept every value of a source type, and in which COPY format."""

import pytest
from pydantic import TypeAdapter

from sync_pipeline.config.sources.declared import DeclaredColumns
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.targets.type_compatibility import format_for

pytestmark = pytest.mark.unit
BINARY, TEXT = CopyFormat.BINARY, CopyFormat.TEXT


@pytest.mark.parametrize(
    ("source", "target", "bare", "category", "expected"),
    [
        ("integer", "integer", "integer", "N", BINARY),
        ("numeric(10,2)", "numeric", "numeric", "N", BINARY),
        ("character varying(9)", "text", "text", "S", BINARY),
        ("timestamp(3) with time zone", *("timestamp with time zone",) * 2, "D", BINARY),
        ("smallint", "integer", "integer", "N", TEXT),
        ("integer", "bigint", "bigint", "N", TEXT),
        ("bigint", "numeric(19,0)", "numeric", "N", TEXT),
        ("bigint", "numeric(20,2)", "numeric", "N", None),
        ("bigint", "integer", "integer", "N", None),
        ("numeric(10,2)", "numeric(12,3)", "numeric", "N", TEXT),
        ("numeric(10,2)", "numeric(12,1)", "numeric", "N", None),
        ("numeric(10,2)", "numeric(10,3)", "numeric", "N", None),
        ("numeric(10,2)", "double precision", "double precision", "N", None),
        ("character varying(9)", "character varying(20)", "character varying", "S", TEXT),
        ("character varying(9)", "character varying(8)", "character varying", "S", None),
        ("text", "character varying(8)", "character varying", "S", None),
        ("real", "double precision", "double precision", "N", TEXT),
        ("double precision", "real", "real", "N", None),
        ("timestamp with time zone", *("timestamp without time zone",) * 2, "D", None),
        ("timestamp without time zone", "date", "date", "D", None),
        ("text", "jsonb", "jsonb", "U", TEXT),
        ("text", "uuid", "uuid", "U", TEXT),
        ("text", "mood", "mood", "E", TEXT),
        ("text", "name", "name", "S", None),
        ("text", "integer", "integer", "N", None),
        ("text", "date", "date", "D", None),
    ],
)
def test_a_column_accepts_types_that_it_neither_rounds_nor_truncates(
    source: str, target: str, bare: str, category: str, expected: CopyFormat | None
) -> None:
    assert format_for(source, target, bare, category) is expected


@pytest.mark.parametrize(
    ("declared", "written"),
    [
        ("int", "integer"),
        ("NUMERIC(10, 2)", "numeric(10,2)"),
        ("varchar(20)", "character varying(20)"),
        ("character varying(20)", "character varying(20)"),
        ("timestamptz", "timestamp with time zone"),
        ("timestamp(3)", "timestamp(3) without time zone"),
        ("timestamp(3) with time zone", "timestamp(3) with time zone"),
        ("text[]", "text[]"),
        ("int8[]", "bigint[]"),
        ("double precision", "double precision"),
        ("shop.mood", "shop.mood"),
    ],
)
def test_a_declared_type_is_converted_to_its_postgresql_name(declared: str, written: str) -> None:
    assert TypeAdapter(DeclaredColumns).validate_python({"x": declared}) == {"x": written}


@pytest.mark.parametrize("declared", ["", "int; DROP TABLE x", "text) --", "numeric(10", "9"])
def test_an_invalid_type_is_rejected(declared: str) -> None:
    with pytest.raises(ValueError, match="must be a PostgreSQL type"):
        TypeAdapter(DeclaredColumns).validate_python({"x": declared})
