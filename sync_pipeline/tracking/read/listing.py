"""Lists of records: filtered, sorted, and paged by offset or cursor.

A cursor is the sort key and the ID of a record, so that a late page costs no more than the first
and does not shift when records are added. Does not read single records: see `history.py`.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from sync_pipeline.database import named_sql
from sync_pipeline.errors import RequestError
from sync_pipeline.tracking.read import history
from sync_pipeline.tracking.read.history import Record

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

EXACT_UP_TO = 10_000
"""Up to this number, records are counted; above it, the number is estimated."""

_SHORT_RANGE_DAYS = 100  # up to this length, sorting the matches is faster than an index scan
_SQL = named_sql.load(__package__, "listing.sql")

Sort = Literal[
    "start_time",
    "-start_time",
    "sync_date",
    "-sync_date",
    "id",
    "-id",
    "duration_seconds",
    "-duration_seconds",
]

# For each sort key: the expression to order by, written as in the index, and its type.
_KEYS = {
    "start_time": ("start_time", "timestamptz"),
    "sync_date": ("sync_date", "date"),
    "id": ("id", "bigint"),
    "duration_seconds": ("coalesce(duration_seconds, -1)", "integer"),
}


@dataclass(frozen=True)
class Filter:
    """Conditions that must all match. `first` and `last` are days, both included; `text` is
    searched for in the remarks and the error message, ignoring case."""

    dataset: str | None = None
    kind: str | None = None
    status: Sequence[str] = ()
    first: date | None = None
    last: date | None = None
    text: str | None = None


@dataclass(frozen=True)
class Page:
    """A page of a list. `total` is the whole list's length; `next` is the cursor for the next
    page."""

    records: Sequence[Record]
    total: int
    total_is_estimate: bool
    next: str | None


def page(
    cursor: "Cursor",
    which: Filter,
    *,
    sort: Sort = "-start_time",
    size: int,
    offset: int = 0,
    after: str | None = None,
) -> Page:
    """Return `size` records of a list, starting at `offset` or after the cursor `after`.

    Raises RequestError if `after` is not a cursor from a list with this sort order.
    """
    key, kind = _KEYS[sort.removeprefix("-")]
    descending = sort.startswith("-")
    direction = "DESC" if descending else "ASC"
    values = _values(which) | {"limit": size + 1, "offset": offset}
    beyond = "true"
    if after is not None:
        values["key"], values["id"] = _read_cursor(after, sort)
        beyond = f"({key}, id) {'<' if descending else '>'} (%(key)s::{kind}, %(id)s::bigint)"
    text = _SQL["list"].format(
        columns="{columns}",
        progress="{progress}",
        filters=_SQL["filters"],
        fence="OFFSET 0" if _is_short(which) else "",
        beyond=beyond,
        order=f"{key} {direction}, id {direction}",
    )
    cursor.execute(history.query(text), values)
    found = [Record(*row) for row in cursor.fetchall()]
    next_cursor = _cursor(found[size - 1], sort) if len(found) > size else None
    if after is None and len(found) <= size and (found or offset == 0):
        total, estimated = offset + len(found), False  # the last page: no need to count
    else:
        total, estimated = _total(cursor, values)
    return Page(found[:size], total, estimated, next_cursor)


def _values(which: Filter) -> dict[str, Any]:
    text = which.text
    if text is not None:
        for special in ("\\", "%", "_"):
            text = text.replace(special, f"\\{special}")
        text = f"%{text}%"
    return {
        "dataset": which.dataset,
        "kind": which.kind,
        "status": list(which.status) or None,
        "dated": which.first is not None or which.last is not None,
        "first": which.first or "-infinity",
        "last": which.last or "infinity",
        "text": text,
    }


def _is_short(which: Filter) -> bool:
    if which.first is None or which.last is None:
        return False
    return (which.last - which.first).days <= _SHORT_RANGE_DAYS


def _total(cursor: "Cursor", values: dict[str, Any]) -> tuple[int, bool]:
    cursor.execute(
        _SQL["count"].format(filters=_SQL["filters"]), values | {"max_count": EXACT_UP_TO + 1}
    )
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a count returns a row
    if row[0] <= EXACT_UP_TO:
        return int(row[0]), False
    cursor.execute(_SQL["estimate"].format(filters=_SQL["filters"]), values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101
    return max(EXACT_UP_TO + 1, int(row[0][0]["Plan"]["Plan Rows"])), True


def _cursor(record: Record, sort: Sort) -> str:
    """Return the cursor for the records after `record`."""
    value = getattr(record, sort.removeprefix("-"))
    value = -1 if value is None else value
    text = value.isoformat() if isinstance(value, (date, datetime)) else value
    cursor = json.dumps([sort, text, record.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")


def _read_cursor(text: str, sort: Sort) -> tuple[Any, int]:
    """Return the sort key and the ID in a cursor. Raises RequestError if it is invalid."""
    try:
        padded = text + "=" * (-len(text) % 4)
        made_for, key, record_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if made_for != sort or type(record_id) is not int or not 0 <= record_id < 2**63:
            raise ValueError
        return _key(key, sort), record_id
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise RequestError(
            f"'after' is not a cursor from a list sorted by {sort}; use 'next' from a page",
            "invalid_cursor",
        ) from None


def _key(value: Any, sort: Sort) -> Any:
    kind = _KEYS[sort.removeprefix("-")][1]
    if kind == "timestamptz":
        return datetime.fromisoformat(value)
    if kind == "date":
        return date.fromisoformat(value)
    if type(value) is not int or abs(value) >= 2 ** (63 if kind == "bigint" else 31):
        raise ValueError
    return value
