"""Find the rows in the responses of one day, check them, and build record batches.

Does not request pages: see `pages.py` and `http.py`.
"""

from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.json_path import MISSING, Steps, find, steps_of
from sync_pipeline.config.sources.rest_pages import Offset
from sync_pipeline.errors import CountMismatchError, NotReadyError, SourceError
from sync_pipeline.sources.rest.json import dump_json

_MAX_NAMES_SHOWN = 10


class DayResponses:
    """The responses for one day. `total` is the number of rows that they report, or None."""

    def __init__(self, keys: RestSource, where: str) -> None:
        self.total: int | None = None
        self._keys = keys
        self._where = where
        self._pages: set[bytes] = set()
        self._had_short_page = False
        self._started = False

    def records(self, response: Any) -> list[Any]:
        """Return a response's rows. Raises SourceError, NotReadyError or CountMismatchError."""
        if not self._started:
            self._check_ready(response)
        self._started = True
        self._record_total(response)
        found = find(steps_of(self._keys.records), response)
        if found is None and self.total == 0:
            found = []  # some servers return null for an empty list
        if not isinstance(found, list):
            raise SourceError(
                f"{self._where}'records' ({self._keys.records}) selects {_kind(found)} instead of "
                f"a list; the response is {_describe(response)}"
            )
        for record in found:
            if not isinstance(record, dict):
                raise SourceError(
                    f"{self._where}'records' ({self._keys.records}) contains {_kind(record)}; each "
                    "record must be an object"
                )
        self._check_page(found)
        return found

    def finish(self) -> None:
        """Raise SourceError if `count` is set but no response contained a count."""
        if self._keys.count and self.total is None:
            raise SourceError(
                f"{self._where}no response contains 'count' ({self._keys.count}); correct it in "
                "its defs.yaml"
            )

    def _check_ready(self, response: Any) -> None:
        for path, expected in self._keys.ready.items():
            found = find(steps_of(path), response)
            if not _same(found, expected):
                message = _kind(found) if isinstance(found, (dict, list)) else f"{found!r:.100}"
                message = "missing" if found is MISSING else message
                raise NotReadyError(
                    f"{self._where}the source does not have the day yet: {path} is {message}, but "
                    f"'ready' requires {expected!r}"
                )

    def _record_total(self, response: Any) -> None:
        found: Any = find(steps_of(self._keys.count), response) if self._keys.count else MISSING
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
                f"{self._where}the source first reported {self.total} rows and then {total}: the "
                "rows changed during the read. Sync the day again"
            )
        self.total = total

    def _check_page(self, records: list[Any]) -> None:
        """Raise SourceError if a page repeats an earlier page or follows a short page."""
        if not records:
            return
        if isinstance(self._keys.paginator, Offset):
            if self._had_short_page:
                raise SourceError(
                    f"{self._where}a page had fewer rows than 'limit' "
                    f"({self._keys.paginator.limit}) but was not the last: the server returns "
                    "smaller pages; lower 'limit' in its defs.yaml to the server's page size"
                )
            self._had_short_page = len(records) < self._keys.paginator.limit
        digest = blake2b(repr(records).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._pages:
            raise SourceError(
                f"{self._where}a page has the same {len(records)} rows as an earlier page: the "
                "server seems to repeat it endlessly; correct 'paginator' in its defs.yaml"
            )
        self._pages.add(digest)


class BatchBuilder:
    """Builds record batches of text from rows."""

    def __init__(self, keys: RestSource, schema: pa.Schema) -> None:
        self._keys = keys
        self._schema = schema
        self._columns = [
            (name, steps_of(keys.paths[name]) if name in keys.paths else (name,), _formatter(kind))
            for name, kind in keys.columns.items()
        ]

    def build(self, records: list[Any], where: str) -> pa.RecordBatch:
        """Return a batch of `records` with the declared columns. Raises SourceError, whose message
        starts with `where`."""
        try:
            arrays = [
                pa.array(self._values(records, column, where), pa.string())
                for column in self._columns
            ]
        except UnicodeEncodeError:
            text = f"{where}a row contains a lone surrogate, which is not a valid character"
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
                        f"{where}a row has no field for column {name!r}; the row is "
                        f"{_describe(record)}; correct 'columns' or 'paths' in its defs.yaml, or "
                        "set absent_fields: null"
                    )
                value = None
            values.append(None if value is None else form(value))
        return values


def _formatter(kind: str) -> Callable[[Any], str]:
    return dump_json if kind in ("json", "jsonb") else _text


def _text(value: Any) -> str:
    """Return a non-null JSON value in PostgreSQL's text format."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, dict, list)):
        return dump_json(value)
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
        ((str,), "a string"),
        ((bool,), "a boolean"),
        ((int, Decimal), "a number"),
    ):
        if isinstance(value, kinds):
            return word
    return "null"


def _describe(value: Any) -> str:
    """Describe a value by its type and, for an object, its field names. Does not show values."""
    if not isinstance(value, dict):
        return _kind(value)
    names = [f"{name:.63}" for name in value][:_MAX_NAMES_SHOWN]
    more = ", …" if len(value) > _MAX_NAMES_SHOWN else ""
    return f"an object with {', '.join(names)}{more}" if names else "an empty object"
