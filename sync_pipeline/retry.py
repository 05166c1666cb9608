"""Which errors are transient, and how work is retried after them with exponential backoff.

Does not define errors: see `errors.py`. An interrupt ends a backoff at once.
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


def again(
    work: Callable[[], _T],
    retry: Retry,
    before_pause: Callable[[Exception, float], object],
    sleep: Callable[[float], object] = time.sleep,
) -> _T:
    """Return what `work` returns, done at most `retry.max_attempts` times.

    After a transient error `before_pause` is called with it and the seconds of the pause to come.
    Raises what the last try raised, and what is not transient at once.
    """
    for pause in pauses(retry):
        try:
            return work()
        except Exception as error:
            if not is_transient(error):
                raise
            before_pause(error, pause)
        sleep(pause)
    return work()


def pauses(retry: Retry) -> Iterator[float]:
    """Yield the seconds to wait after each try but the last: doubling, up to a bound.

    A tenth more or less, so that workers that failed together do not come back together.
    """
    for number in range(retry.max_attempts - 1):
        pause = min(MAX_BACKOFF_SECONDS, retry.initial_backoff_seconds * 2**number)
        yield pause * random.uniform(0.9, 1.1)  # noqa: S311  no secret is made of it


# What another try may mend: connection lost (class 08), server stopped, crashed or starting, too
# many connections, lock not got in time, serialization failure, deadlock.
_TRANSIENT_STATES = {"57P01", "57P02", "57P03", "53300", "55P03", "40001", "40P01"}
_PERMANENT = (
    DayLockedError,
    CountMismatchError,
    RejectedRowsError,
    SupersededError,
    SettingError,
)
# While it connects, libpq gives no SQLSTATE. What a server refuses is permanent, but for these.
_SERVER_IS_BUSY = re.compile(
    r"starting up|shutting down|recovery mode|not (?:yet )?accepting connections"
    r"|terminating connection|too many (?:clients|connections)|connection slots are reserved"
)
_REFUSED = re.compile(r"FATAL:|no password supplied|certificate|SSL was required|does not exist")


def is_transient(error: BaseException) -> bool:
    """Return whether trying again may help: a source that says so, or the driver's error that
    `error` came from.

    A day that another worker holds has been waited for already, and a bug stays one: both are not.
    """
    found: BaseException | None = error
    while isinstance(found, SyncError) and not isinstance(found, _PERMANENT):
        if isinstance(found, TransientSourceError):
            return True
        # `raise … from None` hides the context of an error from people only.
        found = found.__cause__ or found.__context__
    return isinstance(found, psycopg2.Error) and _is_transient_state(found)


def _is_transient_state(error: psycopg2.Error) -> bool:
    if error.pgcode is not None:
        return error.pgcode.startswith("08") or error.pgcode in _TRANSIENT_STATES
    text = str(error)
    # The driver raises the bare class where a COPY lost its connection.
    if isinstance(error, psycopg2.OperationalError) or type(error) is psycopg2.DatabaseError:
        return bool(_SERVER_IS_BUSY.search(text)) or not _REFUSED.search(text)
    return "connection already closed" in text
