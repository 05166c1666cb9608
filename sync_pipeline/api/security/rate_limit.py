"""How often a caller may launch: so many times at once, and then so many a minute."""

import time

MAX_LAUNCHES = 30
_SECONDS = 60.0


class RateLimit:
    """A bucket of turns for each caller, filled again with time. For one thread."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> float:
        """Take a turn; return 0, or the seconds until there is one."""
        now = time.monotonic()
        left, since = self._left.get(name, (float(MAX_LAUNCHES), now))
        left = min(float(MAX_LAUNCHES), left + (now - since) * MAX_LAUNCHES / _SECONDS)
        wait = 0.0 if left >= 1 else (1 - left) * _SECONDS / MAX_LAUNCHES
        self._left[name] = (left if wait else left - 1, now)
        return wait
