"""The process whose memory `memory_5m` measures: it syncs one day and says what it held.

Started as `python -m bench.memory_child ROWS`, with complete settings in the environment. Answers
on standard output with one JSON object, in bytes.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench.one_day import sync_day
from bench.wide_rows import DAY, dataset
from sync_pipeline import settings as environment
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.targets import open_target
from sync_pipeline.tracking.tracker import Tracker

_PROCESS = Path("/proc/self")


def main(rows: int) -> None:
    """Sync a day of `rows` rows; print memory before, and the most that was held since."""
    settings = environment.current()
    orders = dataset("orders_synced")
    with _connected(settings):
        # The peak of the imports would hide one of the day's.
        (_PROCESS / "clear_refs").write_text("5")
        idle = _memory("VmRSS")
        seconds = sync_day(orders, DAY, settings, rows)
        print(json.dumps({"idle": idle, "peak": _memory("VmHWM"), "seconds": round(seconds, 3)}))


@contextmanager
def _connected(settings: Settings) -> Iterator[None]:
    """Hold a connection of each kind that a sync opens.

    The day opens its own beside them, so that the figure errs on the high side.
    """
    orders = dataset("orders_synced")
    with (
        Tracker(settings) as tracker,
        closing(open_source(orders, settings)),
        closing(open_target(orders, settings)),
    ):
        tracker.synced_days(orders.name, [DAY])
        yield


def _memory(name: str) -> int:
    """Return a line of /proc/self/status, in bytes."""
    for line in (_PROCESS / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
