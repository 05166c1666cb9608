"""Columns whose types a `defs.yaml` declares, for sources that do not know them."""

import re
from typing import Annotated

from pydantic import AfterValidator

_TYPE = re.compile(r"[A-Za-z][\w .]*(\(\d+(, ?\d+)?\))?[\w ]*(\[\])?\Z")


def _columns(columns: dict[str, str]) -> dict[str, str]:
    if not columns:
        raise ValueError("must name at least one column with its type, such as {id: bigint}")
    for name, kind in columns.items():
        if not name or len(name.encode()) > 63:
            raise ValueError(f"{name!r} must be a name of 1 to 63 bytes")
        if not _TYPE.match(kind):
            raise ValueError(f"{kind!r} must be a PostgreSQL type, such as bigint or numeric(10,2)")
    return columns


DeclaredColumns = Annotated[dict[str, str], AfterValidator(_columns)]
