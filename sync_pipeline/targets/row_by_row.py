"""Loading a day row by row, so that rows which the table does not take are set aside.

Slower than one COPY, and done only for a day that one COPY has failed for. Every line of COPY's
text form is a row. PostgreSQL says which line of a COPY it stumbled over; that row is tried alone,
and it is its own error that is kept.
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
# What a row can be blamed for: data exceptions, and constraints it breaks.
_ROWS_FAULT = (psycopg2.DataError, psycopg2.IntegrityError)
_ESCAPED = re.compile(r"\\(.)", re.S)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True)
class RejectedRow:
    """A row that the table did not take: its number in the day, from 1, its values as text, and
    why."""

    number: int
    values: dict[str, str | None]
    error: str


def is_rows_fault(error: psycopg2.Error) -> bool:
    """Return whether a load failed because of what stands in a row."""
    return isinstance(error, _ROWS_FAULT)


def said_of(error: psycopg2.Error) -> str:
    """Return what the database said of a row, without the row itself."""
    said = error.diag.message_primary or str(error)
    detail = error.diag.message_detail or ""
    return said if not detail or detail.startswith("Failing row") else f"{said}: {detail}"


def values_of(line: bytes, columns: Sequence[str]) -> dict[str, str | None]:
    """Return the values in a line of COPY's text form, by column, as text; None for NULL."""
    fields = line.decode("utf-8", "backslashreplace").split("\t")
    return dict(zip(columns, map(_unescaped, fields), strict=True))


class CarefulLoad:
    """Copies lines into a table by `copy`, a COPY from text, and calls `on_rejected` for each that
    it does not take. `copied` counts the others. If `numbered`, the first column that is copied is
    the row's number in the day."""

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
        """Load all lines of a stream of bytes. Raises the driver's errors that are no row's fault,
        and what `on_rejected` raises."""
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
                    RejectedRow(number, values_of(lines[0], self._columns), error.said)
                )
                return
            bad = error.line if error.line is not None else len(lines) // 2 + 1
            self._load(lines[: bad - 1], number)
            self._load(lines[bad - 1 : bad], number + bad - 1)
            lines, number = lines[bad:], number + bad

    def _try(self, lines: Sequence[bytes], number: int) -> "_Error | None":
        """Copy `lines`; return what went wrong, after which it is as if they had not been."""
        if self._numbered:
            lines = [b"%d\t%b" % (n, line) for n, line in enumerate(lines, number)]
        self._cursor.execute("SAVEPOINT careful")
        try:
            self._cursor.copy_expert(self._copy, io.BytesIO(b"\n".join(lines) + b"\n"))
        except _ROWS_FAULT as error:
            # Released too: a savepoint that stays would have the next inside it.
            self._cursor.execute("ROLLBACK TO SAVEPOINT careful; RELEASE SAVEPOINT careful")
            return _Error.of(error, len(lines))
        self.copied += self._cursor.rowcount
        self._cursor.execute("RELEASE SAVEPOINT careful")
        return None


@dataclass(frozen=True)
class _Error:
    said: str
    line: int | None

    @classmethod
    def of(cls, error: psycopg2.Error, lines: int) -> "_Error":
        found = _LINE.search(error.diag.context or "")
        line = int(found[1]) if found else None
        return cls(said_of(error), line if line is not None and 1 <= line <= lines else None)


def _lines(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, some at a time, without their ends."""
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


def _unescaped(field: str) -> str | None:
    if field == "\\N":
        return None
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), field)
