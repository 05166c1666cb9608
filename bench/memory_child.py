"""The process that the case `memory` measures: it syncs one day and prints its memory usage.

Started as `python -m bench.memory_child ROWS postgres|csv|parquet FOLDER`, with complete settings
in the environment; FOLDER contains the files. Prints a JSON object; its values are in bytes and
seconds.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench import wide_rows
from bench.one_day import sync_day
from bench.wide_rows import DAY
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import Settings, current_settings
from sync_pipeline.sources import open_source
from sync_pipeline.targets import open_target
from sync_pipeline.tracking.worker.tracker import Tracker

_PROCESS = Path("/proc/self")


def main(rows: int, source: str, folder: Path) -> None:
    """Sync a day of `rows` rows; print the memory used before the sync and at its peak."""
    settings = current_settings()
    table = f"orders_{source}_{rows}"
    if source == "postgres":
        orders = wide_rows.dataset(table)
    else:
        from bench import wide_files  # imports pyarrow, which `postgres` does not need

        orders = wide_files.dataset(table, folder, source)
    with _connected(orders, settings):
        # Reset the peak, which the imports may have raised.
        (_PROCESS / "clear_refs").write_text("5")
        idle = _memory("VmRSS")
        seconds = sync_day(orders, DAY, settings, rows)
        print(json.dumps({"idle": idle, "peak": _memory("VmHWM"), "seconds": round(seconds, 3)}))


@contextmanager
def _connected(orders: Dataset, settings: Settings) -> Iterator[None]:
    """While the block runs, hold one connection of each kind that a sync opens.

    The sync opens its own connections too, so if anything, the measured growth is too high.
    """
    with (
        Tracker(settings) as tracker,
        closing(open_source(orders, settings)),
        closing(open_target(orders, settings)),
    ):
        tracker.synced_days(orders.name, [DAY])
        yield


def _memory(name: str) -> int:
    """Return the value of `name` in /proc/self/status, in bytes."""
    for line in (_PROCESS / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
