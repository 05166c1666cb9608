"""A cached value that is refreshed in the background; callers get the last known value.

A fetch that hangs delays each caller only briefly, and does not block the shared thread pool. Used
by `catalogue.py` and `readiness.py`.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sync_pipeline.errors import StackError

_T = TypeVar("_T")
_REFRESH_WAIT_SECONDS = 0.5  # how long a caller waits for a refresh if there is an older value
_FIRST_WAIT_SECONDS = 5.0  # how long a caller waits if there is no value yet
_FAILURE_TTL_SECONDS = 3.0  # how long a failure is kept before the next attempt
_MAX_WAITING = 16  # how many callers may wait at once, each occupying a shared thread


class _Refresh:
    """A refresh in progress."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.done = threading.Event()


class BackgroundCache(Generic[_T]):
    """A cached result of `fetch`, refreshed in one background thread after `ttl_seconds`.

    The previous value is kept until a refresh succeeds. With `max_age_seconds`, it is kept for at
    most that long, and a failed refresh discards it. `source_name` appears in error messages.
    """

    def __init__(
        self,
        fetch: Callable[[], _T],
        source_name: str,
        *,
        ttl_seconds: float,
        max_age_seconds: float | None = None,
    ) -> None:
        self._fetch = fetch
        self._source_name = source_name
        self._ttl = ttl_seconds
        self._max_age = max_age_seconds
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)
        self._refresh: _Refresh | None = None
        self._value: tuple[_T, float] | None = None
        self._error: Exception | None = None
        self._expires = -math.inf

    def get(self) -> _T:
        """Return the latest value; if it has expired, wait briefly for a refresh.

        Raises the exception that `fetch` raised, or StackError if no value is available yet.
        """
        with self._lock:
            refresh = self._refresh_if_expired()
            known = self._known()
        if refresh is not None:
            self._wait_for(refresh, _FIRST_WAIT_SECONDS if known is None else _REFRESH_WAIT_SECONDS)
        with self._lock:
            known = self._known()
            if known is not None:
                return known[0]
            if self._error is not None:
                raise self._error.with_traceback(None)
        raise StackError(f"{self._source_name} has not responded yet; try again in a moment")

    def refresh(self) -> None:
        """Start a refresh if the value has expired; do not wait for it."""
        with self._lock:
            self._refresh_if_expired()

    def _known(self) -> tuple[_T] | None:
        if self._value is None:
            return None
        value, fetched = self._value
        is_too_old = self._max_age is not None and time.monotonic() - fetched > self._max_age
        return None if is_too_old else (value,)

    def _refresh_if_expired(self) -> _Refresh | None:
        """Start a refresh if the value has expired; return the refresh in progress, if any."""
        if self._refresh is None and time.monotonic() >= self._expires:
            self._refresh = _Refresh()
            threading.Thread(
                target=self._run,
                args=(self._refresh,),
                name=f"refresh {self._source_name}",
                daemon=True,
            ).start()
        return self._refresh

    def _run(self, refresh: _Refresh) -> None:
        value: tuple[_T, float] | None = None
        error: Exception | None = None
        try:
            value = (self._fetch(), time.monotonic())
        except Exception as raised:
            error = raised
        with self._lock:
            if error is None or self._max_age is not None:
                self._value = value
            self._error = error
            self._expires = time.monotonic() + (
                self._ttl if error is None else _FAILURE_TTL_SECONDS
            )
            self._refresh = None
        refresh.done.set()

    def _wait_for(self, refresh: _Refresh, seconds: float) -> None:
        remaining = refresh.started + seconds - time.monotonic()
        if remaining > 0 and self._waiting.acquire(blocking=False):
            try:
                refresh.done.wait(remaining)
            finally:
                self._waiting.release()
