"""Waiting for events, always with a bound. A database that is away is no event."""

import threading
import time
from collections.abc import Callable

import psycopg2

_LOOK_EVERY_SECONDS = 0.02


def waited(holds: Callable[[], object], seconds: float) -> bool:
    """Return True as soon as `holds` does, False after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        try:
            if holds():
                return True
        except psycopg2.Error:
            pass  # asked again, like everything here
        if time.monotonic() > deadline:
            return False
        pause.wait(_LOOK_EVERY_SECONDS)


def pause(seconds: float) -> None:
    """Let `seconds` pass: the moment of a fault is chosen, not awaited."""
    threading.Event().wait(seconds)
