"""Wait for a condition, with a timeout, or pause. All tests that wait use these functions."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2

TIMEOUT_SECONDS = 180
_MIN_POLL_SECONDS = 0.01
_MAX_POLL_SECONDS = 0.1
_T = TypeVar("_T")


def wait_until(holds: Callable[[], _T], seconds: float = TIMEOUT_SECONDS) -> _T:
    """Call `holds` repeatedly until it returns a true value, and return that value.

    Raises AssertionError after `seconds`.
    """
    began = polled = time.monotonic()
    while not (found := holds()):
        assert time.monotonic() < began + seconds, f"still not true after {seconds} s"
        _pause_between_polls(began, polled)
        polled = time.monotonic()
    return found


def holds_within(holds: Callable[[], object], seconds: float) -> bool:
    """Return whether `holds` returns a true value within `seconds`.

    Use this for a condition that may never become true, or that queries a database that may be
    unavailable: a database error counts as not true yet.
    """
    began = time.monotonic()
    while True:
        polled = time.monotonic()
        try:
            if holds():
                return True
        except psycopg2.Error:
            pass
        if time.monotonic() > began + seconds:
            return False
        _pause_between_polls(began, polled)


def pause(seconds: float) -> None:
    """Wait for `seconds`."""
    threading.Event().wait(seconds)


def _pause_between_polls(began: float, polled: float) -> None:
    """Pause for more than twice the duration of the last poll, which began at `polled`.

    This leaves the CPU to the process under test. Pauses are short at first and longer later.
    """
    now = time.monotonic()
    pause(min(_MAX_POLL_SECONDS, _MIN_POLL_SECONDS + (now - began) / 50) + 2 * (now - polled))
