"""Decide which errors are transient, and retry with exponential backoff.

Does not define the errors: see `errors.py`.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg2

from sync_pipeline.config.dataset import Retry
from sync_pipeline.errors import (
    CountMismatchError,
    DayLockedError,
    RejectedRowsError,
    SettingError,
    SupersededError,
    SyncError,
    TransientSourceError,
)

MAX_BACKOFF_SECONDS = 30.0
_T = TypeVar("_T")


def retry(
    work: Callable[[], _T],
    policy: Retry,
    before_backoff: Callable[[Exception, float], object],
    sleep: Callable[[float], object] = time.sleep,
) -> _T:
    """Call `work` at most `policy.max_attempts` times and return its result.

    After a transient error, call `before_backoff` with the error and the backoff in seconds, then
    `sleep`. Raises the error from the last attempt; a permanent error is raised immediately.
    """
    for backoff in backoffs(policy):
        try:
            return work()
        except Exception as error:
            if not is_transient(error):
                raise
            before_backoff(error, backoff)
        sleep(backoff)
    return work()


def backoffs(policy: Retry) -> Iterator[float]:
    """Yield the seconds to wait after each attempt except the last, doubling them up to a maximum.

    Each value is varied randomly by up to 10 percent, so that workers that failed at the same time
    do not retry at the same time.
    """
    for number in range(policy.max_attempts - 1):
        backoff = min(MAX_BACKOFF_SECONDS, policy.initial_backoff_seconds * 2**number)
        yield backoff * random.uniform(0.9, 1.1)  # noqa: S311  not used for security


# SQLSTATEs after which a retry may succeed, in addition to class 08 (connection errors): server
# stopped, crashed or starting, too many connections, lock timeout, serialization failure, deadlock.
_TRANSIENT_STATES = {"57P01", "57P02", "57P03", "53300", "55P03", "40001", "40P01"}
_PERMANENT = (
    DayLockedError,
    CountMismatchError,
    RejectedRowsError,
    SupersededError,
    SettingError,
)
# libpq reports connection errors without an SQLSTATE. A rejected connection is a permanent error
# unless the message matches this pattern.
_SERVER_IS_BUSY = re.compile(
    r"starting up|shutting down|recovery mode|not (?:yet )?accepting connections"
    r"|terminating connection|too many (?:clients|connections)|connection slots are reserved"
)
_REJECTED = re.compile(r"FATAL:|no password supplied|certificate|SSL was required|does not exist")


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed, that is, whether `error` is a TransientSourceError, or
    was caused by one or by a transient driver error.

    DayLockedError is not transient, because the worker has already waited for the lock. An
    unexpected exception is not transient either.
    """
    cause: BaseException | None = error
    while isinstance(cause, SyncError) and not isinstance(cause, _PERMANENT):
        if isinstance(cause, TransientSourceError):
            return True
        # `raise … from None` hides the context from tracebacks, but does not remove it.
        cause = cause.__cause__ or cause.__context__
    return isinstance(cause, psycopg2.Error) and _is_transient_state(cause)


def _is_transient_state(error: psycopg2.Error) -> bool:
    if error.pgcode is not None:
        return error.pgcode.startswith("08") or error.pgcode in _TRANSIENT_STATES
    text = str(error)
    # psycopg2 raises a plain DatabaseError when a COPY loses its connection.
    if isinstance(error, psycopg2.OperationalError) or type(error) is psycopg2.DatabaseError:
        return bool(_SERVER_IS_BUSY.search(text)) or not _REJECTED.search(text)
    return "connection already closed" in text
