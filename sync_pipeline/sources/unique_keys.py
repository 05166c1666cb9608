"""Reject JSON objects that have a key twice: it would not be clear which value is meant."""

from collections import Counter
from typing import Any


class DuplicateKeyError(ValueError):
    """An object has `key` more than once."""

    def __init__(self, key: str) -> None:
        super().__init__(f"an object has the key {key!r:.100} more than once")
        self.key = key


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's keys and values, for `object_pairs_hook`. Raises DuplicateKeyError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise DuplicateKeyError(next(key for key, count in counts.items() if count > 1))
    return found
