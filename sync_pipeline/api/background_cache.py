"""What somebody else has to be asked for, who may not answer: asked by one thread at a time, in the
background, and known meanwhile as it was answered last.

So one that hangs costs whoever calls a moment, and not the threads that everybody shares.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sync_pipeline.errors import StackError

_T = TypeVar("_T")
_MOMENT_SECONDS = 0.5  # how long a new answer is waited for where there is an old one
_FIRST_SECONDS = 5.0  # and where there is none
_FAILURE_SECONDS = 3.0  # how long a failure stands
_MAX_WAITING = 16  # of the threads that everybody shares


class _Question:
    """One that is on its way."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.answered = threading.Event()


class BackgroundCache(Generic[_T]):
    """The answer of `ask`, which `who` gives, asked for again after `kept_seconds`.

    An old answer stands until another comes, also through failures; with `usable_seconds`, for so
    long at most, and until the next failure.
    """

    def __init__(
        self,
        ask: Callable[[], _T],
        who: str,
        *,
        kept_seconds: float,
        usable_seconds: float | None = None,
    ) -> None:
        self._ask = ask
        self._who = who
        self._kept = kept_seconds
        self._usable = usable_seconds
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)
        self._question: _Question | None = None
        self._answer: tuple[_T, float] | None = None
        self._error: Exception | None = None
        self._due = -math.inf

    def get(self) -> _T:
        """Return the latest answer, a moment after it was asked for at the latest.

        Raises what `ask` raised, and StackError if there is no answer yet, or none any more.
        """
        with self._lock:
            question = self._begin_if_due()
            known = self._known()
        if question is not None:
            self._wait_for(question, _FIRST_SECONDS if known is None else _MOMENT_SECONDS)
        with self._lock:
            known = self._known()
            if known is not None:
                return known[0]
            if self._error is not None:
                raise self._error.with_traceback(None)
        raise StackError(f"{self._who} has not answered yet; try again in a moment")

    def begin(self) -> None:
        """Ask, if it is time to, and wait for nothing."""
        with self._lock:
            self._begin_if_due()

    def _known(self) -> tuple[_T] | None:
        if self._answer is None:
            return None
        answer, at = self._answer
        is_old = self._usable is not None and time.monotonic() - at > self._usable
        return None if is_old else (answer,)

    def _begin_if_due(self) -> _Question | None:
        """Return the question that is on its way, if one is."""
        if self._question is None and time.monotonic() >= self._due:
            self._question = _Question()
            threading.Thread(
                target=self._run, args=(self._question,), name=f"asking {self._who}", daemon=True
            ).start()
        return self._question

    def _run(self, question: _Question) -> None:
        answer: tuple[_T, float] | None = None
        error: Exception | None = None
        try:
            answer = (self._ask(), time.monotonic())
        except Exception as raised:
            error = raised
        with self._lock:
            if error is None or self._usable is not None:
                self._answer = answer
            self._error = error
            self._due = time.monotonic() + (self._kept if error is None else _FAILURE_SECONDS)
            self._question = None
        question.answered.set()

    def _wait_for(self, question: _Question, seconds: float) -> None:
        left = question.began + seconds - time.monotonic()
        if left > 0 and self._waiting.acquire(blocking=False):
            try:
                question.answered.wait(left)
            finally:
                self._waiting.release()
