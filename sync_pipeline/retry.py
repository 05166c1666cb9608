"""Doing something again after a transient error, with pauses that grow.

Which errors are transient is said in `errors`. An interrupt gets through at once, in a pause too.
"""

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sync_pipeline.config.dataset import Retry
from sync_pipeline.errors import is_transient

LONGEST_PAUSE_SECONDS = 30.0
_T = TypeVar("_T")


def again(
    work: Callable[[], _T],
    retry: Retry,
    before_pause: Callable[[Exception, float], object],
    sleep: Callable[[float], object] = time.sleep,
) -> _T:
    """Return what `work` returns, done at most `retry.tries` times.

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
    for number in range(retry.tries - 1):
        pause = min(LONGEST_PAUSE_SECONDS, retry.first_pause_seconds * 2**number)
        yield pause * random.uniform(0.9, 1.1)  # noqa: S311  no secret is made of it
