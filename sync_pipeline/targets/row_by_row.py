"""`RowByRowLoad`: load a day so that rejected rows can be quarantined.

Slower than a single COPY, and used only after a single COPY of the day has failed. In COPY's text
format each line is a row, and PostgreSQL reports the line at which a COPY failed. That row is then
copied alone, and the error from that attempt is kept. Does not store rejected rows: see
`quarantine.py`.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

ROWS_AT_ONCE = 1000
_LINE = re.compile(r"^COPY .*?, line (\d+)", re.M)
# Errors caused by the values of a row: data exceptions and constraint violations.
_ROW_ERRORS = (psycopg2.DataError, psycopg2.IntegrityError)
_ESCAPED = re.compile(r"\\(.)", re.S)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True)
class RejectedRow:
    """A row that the table rejected: its number in the day (starting at 1), its values as text, and
    the error."""

    number: int
    values: dict[str, str | None]
    error: str


def is_row_error(error: psycopg2.Error) -> bool:
    """Return whether the error was caused by the values of a row."""
    return isinstance(error, _ROW_ERRORS)


def describe_error(error: psycopg2.Error) -> str:
    """Return the database's error message for a row, without the row's values."""
    message = error.diag.message_primary or str(error)
    detail = error.diag.message_detail or ""
    return message if not detail or detail.startswith("Failing row") else f"{message}: {detail}"


def parse_line(line: bytes, columns: Sequence[str]) -> dict[str, str | None]:
    """Return the values of a line in COPY's text format, keyed by column, with None for NULL."""
    fields = line.decode("utf-8", "backslashreplace").split("\t")
    return dict(zip(columns, map(_unescape, fields), strict=True))


class RowByRowLoad:
    """Copies lines into a table with `copy`, a COPY statement in text format.

    `on_rejected` is called for each rejected row; `copied` counts the others. If `numbered`, the
    row's number in the day is copied into the first column.
    """

    def __init__(
        self,
        cursor: "Cursor",
        copy: str,
        columns: Sequence[str],
        on_rejected: Callable[[RejectedRow], None],
        *,
        numbered: bool = False,
    ) -> None:
        self.copied = 0
        self._cursor = cursor
        self._copy = copy
        self._columns = columns
        self._on_rejected = on_rejected
        self._numbered = numbered

    def load(self, chunks: Iterator[bytes]) -> None:
        """Load all lines in `chunks`. Raises any exception from `on_rejected`, and driver errors
        that were not caused by a row."""
        number = 1
        for lines in _lines(chunks):
            self._load(lines, number)
            number += len(lines)

    def _load(self, lines: Sequence[bytes], number: int) -> None:
        while lines:
            error = self._try(lines, number)
            if error is None:
                return
            if len(lines) == 1:
                self._on_rejected(
                    RejectedRow(number, parse_line(lines[0], self._columns), error.message)
                )
                return
            bad = error.line if error.line is not None else len(lines) // 2 + 1
            self._load(lines[: bad - 1], number)
            self._load(lines[bad - 1 : bad], number + bad - 1)
            lines, number = lines[bad:], number + bad

    def _try(self, lines: Sequence[bytes], number: int) -> "_Error | None":
        """Copy `lines`. If that fails because of a row, undo the copy and return the error."""
        if self._numbered:
            lines = [b"%d\t%b" % (n, line) for n, line in enumerate(lines, number)]
        self._cursor.execute("SAVEPOINT lines")
        try:
            self._cursor.copy_expert(self._copy, io.BytesIO(b"\n".join(lines) + b"\n"))
        except _ROW_ERRORS as error:
            # Also release the savepoint; otherwise savepoints would nest deeper each time.
            self._cursor.execute("ROLLBACK TO SAVEPOINT lines; RELEASE SAVEPOINT lines")
            return _Error.of(error, len(lines))
        self.copied += self._cursor.rowcount
        self._cursor.execute("RELEASE SAVEPOINT lines")
        return None


@dataclass(frozen=True)
class _Error:
    message: str
    line: int | None

    @classmethod
    def of(cls, error: psycopg2.Error, lines: int) -> "_Error":
        found = _LINE.search(error.diag.context or "")
        line = int(found[1]) if found else None
        return cls(describe_error(error), line if line is not None and 1 <= line <= lines else None)


def _lines(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, without line endings, in lists of up to `ROWS_AT_ONCE`."""
    waiting: list[bytes] = []
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        waiting += whole
        while len(waiting) >= ROWS_AT_ONCE:
            yield waiting[:ROWS_AT_ONCE]
            del waiting[:ROWS_AT_ONCE]
    if waiting:
        yield waiting


def _unescape(field: str) -> str | None:
    if field == "\\N":
        return None
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), field)
