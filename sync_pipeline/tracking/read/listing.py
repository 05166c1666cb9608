"""Lists of records: filtered, in an order, page by page or from a place on.

A place is the sort key and the id of a record, so that a deep list costs no more than a short one
and does not shift while records are added.
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
"""Up to so many records are counted; more are estimated."""

_SHORT_RANGE_DAYS = 100  # what it finds is put in order faster than an order is walked
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

# By sort key: what it is ordered by, as the indexes are, and the type of that.
_KEYS = {
    "start_time": ("start_time", "timestamptz"),
    "sync_date": ("sync_date", "date"),
    "id": ("id", "bigint"),
    "duration_seconds": ("coalesce(duration_seconds, -1)", "integer"),
}


@dataclass(frozen=True)
class Filter:
    """Which records: all that are given must hold. `first` and `last` are days, both included;
    `text` stands in remarks or error, in whatever case."""

    dataset: str | None = None
    kind: str | None = None
    status: Sequence[str] = ()
    first: date | None = None
    last: date | None = None
    text: str | None = None


@dataclass(frozen=True)
class Page:
    """Some records of a list. `total` counts the whole list; `next` is where the rest begins."""

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
    """Return `size` records of a list, from `offset` or from the place `after` on.

    Raises RequestError if `after` is no place in a list of this order.
    """
    key, kind = _KEYS[sort.removeprefix("-")]
    down = sort.startswith("-")
    way = "DESC" if down else "ASC"
    values = _values(which) | {"limit": size + 1, "offset": offset}
    beyond = "true"
    if after is not None:
        values["key"], values["id"] = _place(after, sort)
        beyond = f"({key}, id) {'<' if down else '>'} (%(key)s::{kind}, %(id)s::bigint)"
    text = _SQL["list"].format(
        columns="{columns}",
        progress="{progress}",
        filters=_SQL["filters"],
        fence="OFFSET 0" if _is_short(which) else "",
        beyond=beyond,
        order=f"{key} {way}, id {way}",
    )
    cursor.execute(history.query(text), values)
    found = [Record(*row) for row in cursor.fetchall()]
    more = _name(found[size - 1], sort) if len(found) > size else None
    if after is None and len(found) <= size and (found or offset == 0):
        total, estimated = offset + len(found), False  # the end is in sight: all have been read
    else:
        total, estimated = _total(cursor, values)
    return Page(found[:size], total, estimated, more)


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
        _SQL["count"].format(filters=_SQL["filters"]), values | {"most": EXACT_UP_TO + 1}
    )
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a count always answers
    if row[0] <= EXACT_UP_TO:
        return int(row[0]), False
    cursor.execute(_SQL["estimate"].format(filters=_SQL["filters"]), values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101
    return max(EXACT_UP_TO + 1, int(row[0][0]["Plan"]["Plan Rows"])), True


def _name(record: Record, sort: Sort) -> str:
    """Return the name of the place behind `record`."""
    value = getattr(record, sort.removeprefix("-"))
    value = -1 if value is None else value
    text = value.isoformat() if isinstance(value, (date, datetime)) else value
    name = json.dumps([sort, text, record.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _place(name: str, sort: Sort) -> tuple[Any, int]:
    """Return the key and the id behind which a list goes on. Raises RequestError."""
    try:
        padded = name + "=" * (-len(name) % 4)
        of, key, record_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if of != sort or type(record_id) is not int or not 0 <= record_id < 2**63:
            raise ValueError
        return _key(key, sort), record_id
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise RequestError(
            f"'after' is no place in a list sorted by {sort}; take it from 'next' of a page",
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
