"""Path patterns with a day and wildcards, which match the paths for one day or for any day.

Does not list files: see `sources/files/finder.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from string import Formatter

# The fixed-width strftime directives with their widths, most significant first.
_DIGITS = {"Y": 4, "G": 4, "y": 2, "m": 2, "V": 2, "j": 3, "d": 2, "u": 1}
_ISO = "%Y-%m-%d"
_SCHEMES = ("s3://", "gs://")
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class Name:
    """One component of a path pattern.

    `literal` is its text if it has no wildcards or directives.
    """

    literal: str | None
    regex: re.Pattern[str]
    directives: str

    def rank(self, name: str) -> tuple[str, ...] | None:
        """Return a key for sorting names by the day they contain, then alphabetically; None if
        `name` does not match.

        A name that begins with a dot or an underscore matches only if the pattern begins with it.
        """
        match = self.regex.fullmatch(name)
        if match is None or (name[0] in "._" and not self.regex.pattern.startswith(("\\.", "_"))):
            return None
        in_order = sorted(range(len(self.directives)), key=lambda n: self._weight(n))
        return (*(match[n + 1] for n in in_order), name)

    def _weight(self, number: int) -> int:
        return list(_DIGITS).index(self.directives[number])


@dataclass(frozen=True)
class PathPattern:
    """A path such as `s3://bucket/{day:%Y/%m/%d}/*.csv`. Raises ValueError if it is invalid."""

    text: str

    def __post_init__(self) -> None:
        if "://" in self.text and not self.text.startswith(_SCHEMES):
            raise ValueError("must be a local path, or begin with s3:// or gs://")
        if "**" in self.text:
            raise ValueError("** is not supported; * matches any part of one name")
        names = self.names(None)
        if not names or names[-1].literal == "":
            raise ValueError("must end with a file name, not with /")
        if self.scheme and (len(names) < 2 or not names[0].literal):
            raise ValueError("must contain a bucket and a path: s3://bucket/path")
        if self.scheme and not re.fullmatch(r"[\w.-]+", names[0].literal or ""):
            raise ValueError("must contain the name of a bucket, and no keys or passwords")

    @property
    def scheme(self) -> str:
        """`s3`, `gs`, or an empty string for a local path."""
        return self.text.partition("://")[0] if "://" in self.text else ""

    @property
    def is_daily(self) -> bool:
        """Whether no two days have the same path."""
        return _is_daily(self)

    def names(self, day: date | None) -> list[Name]:
        """Return the path's components, which match `day` or, if `day` is None, any day."""
        names, literal, regex, directives = [], "", "", ""
        is_open = False
        for kind, piece in [*self._pieces(day), ("", "/")]:
            if piece == "/":
                names.append(Name(None if is_open else literal, re.compile(regex), directives))
                literal, regex, directives, is_open = "", "", "", False
            elif kind == "%":
                regex += rf"(\d{{{_DIGITS[piece]}}})"
                directives += piece
                is_open = True
            elif kind == "*":
                regex += _WILDCARDS[piece]
                is_open = True
            else:
                literal, regex = literal + piece, regex + re.escape(piece)
        return names

    def _pieces(self, day: date | None) -> Sequence[tuple[str, str]]:
        """Return (kind, character) pairs; the kind is `*` for a wildcard, `%` for a directive (if
        `day` is None), and empty for a literal character."""
        found: list[tuple[str, str]] = []
        for literal, form in self._parts():
            found += [("*" if c in _WILDCARDS else "", c) for c in literal]
            if form and day is not None:
                found += [("", c) for c in _strftime(day, form)]
            else:
                split = re.findall(r"%(\w)|(.)", form)
                found += [("%", code) if code else ("", other) for code, other in split]
        return found

    def path_of(self, day: date) -> str:
        """Return the path for `day`, with its wildcards."""
        return "".join(literal + _strftime(day, form) for literal, form in self._parts())

    def _parts(self) -> list[tuple[str, str]]:
        return parts_of(self.text.removeprefix(f"{self.scheme}://"), ("day",))


@lru_cache(maxsize=256)
def _is_daily(pattern: PathPattern) -> bool:
    days = [date(2023, 12, 25) + timedelta(days=n) for n in range(800)]
    return len({pattern.path_of(day) for day in days}) == len(days)


def day_of_path(names: Sequence[Name], path: Sequence[str]) -> date | None:
    """Return the day that `path` contains according to `names`; None if it contains no
    valid day."""
    found: dict[str, str] = {}
    for name, text in zip(names, path, strict=True):
        match = name.regex.fullmatch(text)
        if match is not None:
            found |= zip(name.directives, match.groups(), strict=True)
    form = " ".join(f"%{directive}" for directive in found)
    try:
        return datetime.strptime(" ".join(found.values()), form).date() if form else None  # noqa: DTZ007
    except ValueError:
        return None


def parts_of(text: str, fields: Sequence[str]) -> list[tuple[str, str]]:
    """Return the literal parts of a template, each with the day format that follows it, or "".

    Placeholders for fields in `fields` other than the day remain in the literal parts. Raises
    ValueError for a placeholder that is not in `fields`.
    """
    found = []
    for literal, field, form, conversion in Formatter().parse(text):
        if field is None:
            found.append((literal, ""))
        elif field not in fields or conversion:
            raise ValueError(f"{{{field}}} is not supported in {text!r}; use {{day:%Y-%m-%d}}")
        elif field != "day":
            found.append((literal + f"{{{field}}}", ""))
        else:
            found.append((literal, _check_directives(form or _ISO)))
    return found


def _strftime(day: date, form: str) -> str:
    # The C library does not pad a year before 1000 with zeros.
    return day.strftime(form.replace("%Y", f"{day.year:04}")) if form else ""


def _check_directives(form: str) -> str:
    unknown = set(re.findall(r"%(.?)", form)) - set(_DIGITS)
    if unknown:
        known = " ".join(f"%{letter}" for letter in _DIGITS)
        raise ValueError(f"%{min(unknown)} is not supported in a path; supported are {known}")
    return form


def render_marker(text: str, day: date, file: str) -> str:
    """Return the name of a marker file: `text` with the day and the data file's name inserted."""
    parts = parts_of(text, ("day", "file"))
    return "".join(
        literal.replace("{file}", file) + _strftime(day, form) for literal, form in parts
    )
