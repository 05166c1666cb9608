"""The answers of one day, page by page: their rows, what they say of themselves, and a batch."""

from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.json_path import MISSING, Steps, find, steps_of
from sync_pipeline.config.sources.rest_pages import Offset
from sync_pipeline.errors import CountMismatchError, NotReadyError, SourceError
from sync_pipeline.sources.rest.json import written

_MAX_NAMES_SHOWN = 10


class DayOfAnswers:
    """What the answers of one day say. `total` is how many rows they say there are, if they do."""

    def __init__(self, keys: RestSource, where: str) -> None:
        self.total: int | None = None
        self._keys = keys
        self._where = where
        self._pages: set[bytes] = set()
        self._short = False
        self._begun = False

    def records(self, answer: Any) -> list[Any]:
        """Return the rows of an answer. Raises SourceError, NotReadyError, CountMismatchError."""
        if not self._begun:
            self._check_ready(answer)
        self._begun = True
        self._keep_total(answer)
        found = find(steps_of(self._keys.records), answer)
        if found is None and self.total == 0:
            found = []  # as some servers write an empty list
        if not isinstance(found, list):
            raise SourceError(
                f"{self._where}'records' ({self._keys.records}) leads to {_kind(found)}, not to a "
                f"list; the answer is {_outline(answer)}"
            )
        for record in found:
            if not isinstance(record, dict):
                raise SourceError(
                    f"{self._where}'records' ({self._keys.records}) holds {_kind(record)}; each "
                    "must be an object"
                )
        self._check_page(found)
        return found

    def finish(self) -> None:
        """Raise SourceError if `count` is to be compared, but no answer had it."""
        if self._keys.count and self.total is None:
            raise SourceError(
                f"{self._where}no answer has 'count' ({self._keys.count}); correct it in its "
                "defs.yaml"
            )

    def _check_ready(self, answer: Any) -> None:
        for path, expected in self._keys.ready.items():
            found = find(steps_of(path), answer)
            if not _same(found, expected):
                said = _kind(found) if isinstance(found, (dict, list)) else f"{found!r:.100}"
                said = "missing" if found is MISSING else said
                raise NotReadyError(
                    f"{self._where}the source does not have the day yet: {path} is {said}, not "
                    f"{expected!r} as 'ready' says"
                )

    def _keep_total(self, answer: Any) -> None:
        found: Any = find(steps_of(self._keys.count), answer) if self._keys.count else MISSING
        if found is MISSING or found is None:
            return
        try:
            total = int(found) if not isinstance(found, bool) else -1
        except (ValueError, TypeError):
            total = -1
        if total < 0:
            raise SourceError(
                f"{self._where}'count' ({self._keys.count}) is {found!r:.100}, not a number of rows"
            )
        if self.total not in (None, total):
            raise CountMismatchError(
                f"{self._where}the source said that there are {self.total} rows, and then that "
                f"there are {total}: they changed while they were read. Try again"
            )
        self.total = total

    def _check_page(self, records: list[Any]) -> None:
        """Raise SourceError for a page that another page was."""
        if not records:
            return
        if isinstance(self._keys.paginator, Offset):
            if self._short:
                raise SourceError(
                    f"{self._where}a page had fewer rows than 'limit' "
                    f"({self._keys.paginator.limit}), and yet another followed: the server gives "
                    "smaller pages; lower 'limit' in its defs.yaml to what it gives"
                )
            self._short = len(records) < self._keys.paginator.limit
        digest = blake2b(repr(records).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._pages:
            raise SourceError(
                f"{self._where}a page holds the same {len(records)} rows as one before it: the "
                "server seems to give it for ever; correct 'paginator' in its defs.yaml"
            )
        self._pages.add(digest)


class Batches:
    """Makes batches of text of rows."""

    def __init__(self, keys: RestSource, schema: pa.Schema) -> None:
        self._keys = keys
        self._schema = schema
        self._columns = [
            (name, steps_of(keys.paths[name]) if name in keys.paths else (name,), _form(kind))
            for name, kind in keys.columns.items()
        ]

    def of(self, records: list[Any], where: str) -> pa.RecordBatch:
        """Return `records` as the declared columns. Raises SourceError, beginning with `where`."""
        try:
            arrays = [
                pa.array(self._values(records, column, where), pa.string())
                for column in self._columns
            ]
        except UnicodeEncodeError:
            text = f"{where}a row holds half a character (a lone surrogate), which is no Unicode"
        except RecursionError:
            text = f"{where}a row is nested too deeply"
        else:
            return pa.record_batch(arrays, schema=self._schema)
        raise SourceError(text)

    def _values(
        self, records: list[Any], column: tuple[str, Steps, Callable[[Any], str]], where: str
    ) -> list[str | None]:
        name, steps, form = column
        values: list[str | None] = []
        for record in records:
            value = find(steps, record)
            if value is MISSING:
                if self._keys.absent_fields == "refuse":
                    raise SourceError(
                        f"{where}a row has no field for column {name!r}; it is {_outline(record)}; "
                        "correct 'columns' or 'paths' in its defs.yaml, or set absent_fields: null"
                    )
                value = None
            values.append(None if value is None else form(value))
        return values


def _form(kind: str) -> Callable[[Any], str]:
    return written if kind in ("json", "jsonb") else _text


def _text(value: Any) -> str:
    """Return a value of JSON, not null, as PostgreSQL reads it."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, dict, list)):
        return written(value)
    return str(value)


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(expected, float):
        expected = Decimal(str(expected))
    return bool(found == expected)


def _kind(value: Any) -> str:
    if value is MISSING:
        return "nothing"
    for kinds, word in (
        ((dict,), "an object"),
        ((list,), "a list"),
        ((str,), "a text"),
        ((bool,), "true or false"),
        ((int, Decimal), "a number"),
    ):
        if isinstance(value, kinds):
            return word
    return "null"


def _outline(value: Any) -> str:
    """Return what the value is, with the names of an object's fields, but none of their values."""
    if not isinstance(value, dict):
        return _kind(value)
    names = [f"{name:.63}" for name in value][:_MAX_NAMES_SHOWN]
    more = ", …" if len(value) > _MAX_NAMES_SHOWN else ""
    return f"an object with {', '.join(names)}{more}" if names else "an empty object"
