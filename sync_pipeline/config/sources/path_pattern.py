"""Paths with a day and wildcards in them: which file names of one day, or of any, they mean."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from string import Formatter

# strftime's directives of fixed width, the more significant first.
_DIGITS = {"Y": 4, "G": 4, "y": 2, "m": 2, "V": 2, "j": 3, "d": 2, "u": 1}
_ISO = "%Y-%m-%d"
_SCHEMES = ("s3://", "gs://")
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class Name:
    """One name of a path. `literal` is the name itself where nothing in it is open."""

    literal: str | None
    regex: re.Pattern[str]
    directives: str

    def rank(self, name: str) -> tuple[str, ...] | None:
        """Return what sorts names by the day in them, then by themselves; None if `name` is not
        meant. Names that begin with a dot or an underline are meant only if that is written."""
        match = self.regex.fullmatch(name)
        if match is None or (name[0] in "._" and not self.regex.pattern.startswith(("\\.", "_"))):
            return None
        in_order = sorted(range(len(self.directives)), key=lambda n: self._weight(n))
        return (*(match[n + 1] for n in in_order), name)

    def _weight(self, number: int) -> int:
        return list(_DIGITS).index(self.directives[number])


@dataclass(frozen=True)
class PathPattern:
    """A path such as ``s3://bucket/{day:%Y/%m/%d}/*.csv``. Raises ValueError for a wrong one."""

    text: str

    def __post_init__(self) -> None:
        if "://" in self.text and not self.text.startswith(_SCHEMES):
            raise ValueError("must be a local path, or begin with s3:// or gs://")
        if "**" in self.text:
            raise ValueError("** is not known; * stands for any part of one name")
        names = self.names(None)
        if not names or names[-1].literal == "":
            raise ValueError("must end with the name of a file, not with /")
        if self.scheme and (len(names) < 2 or not names[0].literal):
            raise ValueError("must name a bucket and a path in it: s3://bucket/path")
        if self.scheme and not re.fullmatch(r"[\w.-]+", names[0].literal or ""):
            raise ValueError("must name a bucket; keys and passwords never stand in a path")

    @property
    def scheme(self) -> str:
        """``s3``, ``gs``, or nothing for a local path."""
        return self.text.partition("://")[0] if "://" in self.text else ""

    @property
    def is_daily(self) -> bool:
        """Whether each day has a path of its own."""
        days = [date(2023, 12, 25) + timedelta(days=n) for n in range(800)]
        return len({self._rendered(day) for day in days}) == len(days)

    def names(self, day: date | None) -> list[Name]:
        """Return the names between the slashes: those of `day`, or those of any day."""
        names, literal, regex, directives = [], "", "", ""
        open_name = False
        for kind, piece in [*self._pieces(day), ("", "/")]:
            if piece == "/":
                names.append(Name(None if open_name else literal, re.compile(regex), directives))
                literal, regex, directives, open_name = "", "", "", False
            elif kind == "%":
                regex += rf"(\d{{{_DIGITS[piece]}}})"
                directives += piece
                open_name = True
            elif kind == "*":
                regex += _WILDCARDS[piece]
                open_name = True
            else:
                literal, regex = literal + piece, regex + re.escape(piece)
        return names

    def _pieces(self, day: date | None) -> Sequence[tuple[str, str]]:
        """Return single characters, wildcards (``*``) and, for any day, directives (``%``)."""
        found: list[tuple[str, str]] = []
        for literal, form in self._parts():
            found += [("*" if c in _WILDCARDS else "", c) for c in literal]
            if form and day is not None:
                found += [("", c) for c in _strftime(day, form)]
            else:
                split = re.findall(r"%(\w)|(.)", form)
                found += [("%", given) if given else ("", other) for given, other in split]
        return found

    def _rendered(self, day: date) -> str:
        return "".join(literal + _strftime(day, form) for literal, form in self._parts())

    def _parts(self) -> list[tuple[str, str]]:
        return parts_of(self.text.removeprefix(f"{self.scheme}://"), ("day",))


def day_in(names: Sequence[Name], path: Sequence[str]) -> date | None:
    """Return the day that stands in a path of such names; None if none does, or no whole one."""
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
    """Return the literal parts of a template, each with the day's form that follows it, or ""; of
    other `fields` it keeps the braces. Raises ValueError for what a template cannot hold."""
    found = []
    for literal, field, form, conversion in Formatter().parse(text):
        if field is None:
            found.append((literal, ""))
        elif field not in fields or conversion:
            raise ValueError(f"{{{field}}} is not known in {text!r}; write {{day:%Y-%m-%d}}")
        elif field != "day":
            found.append((literal + f"{{{field}}}", ""))
        else:
            found.append((literal, _checked(form or _ISO)))
    return found


def _strftime(day: date, form: str) -> str:
    # The C library does not pad a year before 1000.
    return day.strftime(form.replace("%Y", f"{day.year:04}")) if form else ""


def _checked(form: str) -> str:
    unknown = set(re.findall(r"%(.?)", form)) - set(_DIGITS)
    if unknown:
        known = " ".join(f"%{letter}" for letter in _DIGITS)
        raise ValueError(f"%{min(unknown)} is not known in a path; known are {known}")
    return form


def rendered(text: str, day: date, file: str) -> str:
    """Return a marker's template with the day and the file's name in it."""
    parts = parts_of(text, ("day", "file"))
    return "".join(
        literal.replace("{file}", file) + _strftime(day, form) for literal, form in parts
    )
