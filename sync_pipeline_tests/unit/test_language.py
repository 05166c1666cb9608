"""The repository uses the terms in docs/glossary.md and does not use old public names.

Both lists are in the documents: the words to avoid are in the glossary's second table, and the old
public names are in the changelog's table of renames.
"""

import re
import subprocess
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import PurePosixPath

import pytest

from sync_pipeline.settings import PROJECT_ROOT

pytestmark = pytest.mark.unit

SUFFIXES = {".py", ".sql", ".js", ".yaml", ".yml", ".md", ".toml", ".html"}
NAMES = {".env.example", "Makefile"}
# Released migrations never change. The other files contain the words because they list, explain or
# reject them.
EXEMPT = re.compile(
    r"database/migrations/versions/v000[1-7]_|browser/axe/|^docs/glossary\.md|^CHANGELOG\.md"
    r"|unit/test_language\.py|unit/test_renamed\.py|sync_pipeline/config/renamed\.py"
)
# Old columns, settings that are rejected, and a cursor from an earlier version.
ALLOWED = {
    *(("docs/contract.md", name) for name in ("sync_attempt.told_at", "told_at")),
    ("docs/contract.md", "sync_worker.place"),
    ("sync_pipeline_tests/unit/test_reconciler_cursor.py", "heard"),
    *(("sync_pipeline/settings.py", f"SYNC_DAGSTER_{name}URL") for name in ("", "UI_", "LINK_")),
}
# A phrase may continue on the next line, after a comment marker.
GAP = r"\s+(?:(?:#|--|//|\*)\s+)?"


@dataclass(frozen=True)
class Rule:
    """A word to avoid, what to write instead, and the phrases in which it is allowed."""

    avoid: str
    write: str
    allowed: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """A regular expression for a name, or for all words in a phrase except the first."""
        words = self.avoid.lower()
        if not self.is_name:
            return "".join(GAP + re.escape(word) for word in words.split()[1:]) + r"(?![a-z0-9])"
        body = re.escape(words).replace(r"\*", r"\w*")
        before = "" if words.startswith("*") else r"(?<![a-z0-9_])_?"
        return before + body + (r"(?!\w)" if words[-1].isalnum() else "")

    @property
    def is_name(self) -> bool:
        """Whether the entry is matched exactly as written, including underscores."""
        return re.search(r"[_*.\"]", self.avoid) is not None


def section(document: str, heading: str) -> str:
    text = (PROJECT_ROOT / document).read_text("utf-8")
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def words() -> tuple[Rule, ...]:
    """Return the words to avoid, as listed in the glossary."""
    rows = re.findall(
        r"^\| (`.+?) \| (.+?) \|(.*)\|$", section("docs/glossary.md", "Words not to use"), re.M
    )
    return tuple(
        Rule(
            avoid,
            write,
            tuple(phrase.replace("_", " ") for phrase in quoted(allowed) if avoid in phrase),
        )
        for cell, write, allowed in rows
        for avoid in quoted(cell)
    )


@cache
def old_names() -> tuple[Rule, ...]:
    """Return the old public names. A name that is a plain word is matched only in quotes."""
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|$", section("CHANGELOG.md", "Renamed"), re.M)
    return tuple(
        Rule(f'"{name}"' if name.isalpha() else name, write)
        for cell, write in rows
        for name in quoted(cell)
    )


def files() -> Iterator[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = PurePosixPath(name)
        chosen = path.suffix in SUFFIXES or path.name in NAMES
        if chosen and not EXEMPT.search(name) and (PROJECT_ROOT / name).is_file():
            yield name


def hits(rules: tuple[Rule, ...]) -> list[str]:
    """Return all uses of the words in `rules`, as `path:line: word → what to write`."""
    found: set[tuple[str, int, str]] = set()
    for file in files():
        text = (PROJECT_ROOT / file).read_text("utf-8").lower()
        ends = list(accumulate(len(line) for line in text.splitlines(keepends=True)))
        for start, rule in search(rules, text):
            if (file, rule.avoid) not in ALLOWED:
                line = bisect_right(ends, start) + 1
                found.add((file, line, f"{rule.avoid} → {rule.write}"))
    return [f"{file}:{line}: {what}" for file, line, what in sorted(found)]


def search(rules: tuple[Rule, ...], text: str) -> Iterator[tuple[int, Rule]]:
    """Yield the position and rule for each word to avoid that the lower-case `text` contains.

    Underscores between the words of a phrase count as spaces.
    """
    names, phrases = patterns(rules)
    for rule, core, pattern in names:
        if core in text:
            yield from ((match.start(), rule) for match in pattern.finditer(text))
    spaced = text.replace("_", " ")
    for word in re.finditer(r"[a-z0-9]+", spaced):
        for rule, rest in phrases.get(word.group(), ()):
            if rest.match(spaced, word.end()) and not any(
                spaced.startswith(phrase, word.start() - phrase.index(rule.avoid))
                for phrase in rule.allowed
            ):
                yield word.start(), rule


@cache
def patterns(
    rules: tuple[Rule, ...],
) -> tuple[list[tuple[Rule, str, re.Pattern[str]]], dict[str, list[tuple[Rule, re.Pattern[str]]]]]:
    """Compile the rules and return those for names and those for phrases.

    Each name comes with a text that all its matches contain. Phrases are grouped by first word.
    """
    names, phrases = [], defaultdict(list)
    for rule in rules:
        compiled = re.compile(rule.pattern)
        if rule.is_name:
            names.append((rule, rule.avoid.lower().strip("*"), compiled))
        else:
            phrases[rule.avoid.lower().split()[0]].append((rule, compiled))
    return names, phrases


def test_the_lists_are_found() -> None:
    assert len(words()) > 100
    assert {"told", "at work", "most_*"} <= {rule.avoid for rule in words()}
    assert {"when_day_is_held", '"bug"', "retry.tries"} <= {rule.avoid for rule in old_names()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def mark_told(", ["told"]),
        ("a day came\n    # in late", ["came in"]),
        ("Told by", ["told"]),
        ("_MOST_ROWS = 1", ["most_*"]),
        ("dagster_away", ["*_away"]),
        ("it is no longer there, and there is no file", []),
        ("it is no batch", ["is no"]),
        ("atwork, at_most_one, retold, right away", []),
    ],
)
def test_a_word_is_found_in_prose_and_in_names(text: str, expected: list[str]) -> None:
    assert [rule.avoid for _, rule in search(words(), text.lower())] == expected


def test_no_word_is_used_that_the_glossary_says_to_avoid() -> None:
    found = hits(words())
    assert not found, "\n".join(["", *found, f"{len(found)} uses; see docs/glossary.md"])


def test_no_public_name_is_used_that_was_renamed() -> None:
    found = hits(old_names())
    assert not found, "\n".join(["", *found, f"{len(found)} uses; see CHANGELOG.md"])
