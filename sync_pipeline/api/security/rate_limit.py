"""The rate limit for launches: a token bucket for each caller."""

import time

MAX_LAUNCHES = 30
_SECONDS = 60.0


class RateLimit:
    """Allows bursts of 30 launches and an average of 30 a minute. Not thread-safe."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def acquire(self, name: str) -> float:
        """Count a launch by `name`; return 0, or the seconds to wait if the limit is reached."""
        now = time.monotonic()
        left, updated = self._buckets.get(name, (float(MAX_LAUNCHES), now))
        left = min(float(MAX_LAUNCHES), left + (now - updated) * MAX_LAUNCHES / _SECONDS)
        wait = 0.0 if left >= 1 else (1 - left) * _SECONDS / MAX_LAUNCHES
        self._buckets[name] = (left if wait else left - 1, now)
        return wait
