"""Bounded waits for a condition, and pauses. Every test that waits for something uses these."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

TIMEOUT_SECONDS = 60
_POLL_SECONDS = 0.02
_T = TypeVar("_T")


def wait_until(holds: Callable[[], _T], seconds: float = TIMEOUT_SECONDS) -> _T:
    """Call `holds` until it returns something true, and return that.

    Raises AssertionError after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"still not true after {seconds} s"
        pause(_POLL_SECONDS)
    return found


def holds_within(
    holds: Callable[[], object],
    seconds: float,
    *,
    ignored: type[Exception] | tuple[type[Exception], ...] = (),
) -> bool:
    """Return whether `holds` returns something true within `seconds`.

    While it raises an `ignored` error, it does not hold yet.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return True
        except ignored:
            pass
        if time.monotonic() > deadline:
            return False
        pause(_POLL_SECONDS)


def pause(seconds: float) -> None:
    """Let `seconds` pass."""
    threading.Event().wait(seconds)
