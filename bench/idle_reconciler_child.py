"""The process that the case `idle_reconciler` measures: the reconciler with nothing to do.

Started as `python -m bench.idle_reconciler_child PASSES`, with complete settings in the
environment. Prints a JSON list with the duration of each pass, in seconds.
"""

import json
import sys
import time

import dagster as dg

from sync_pipeline.orchestration.dagster.storage import pool_connections
from sync_pipeline.orchestration.project import load_datasets
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.settings import current_settings


def main(passes: int) -> None:
    """Run one pass to open connections, then time `passes` more and print their durations."""
    settings = current_settings()
    datasets = load_datasets(settings.project_dir)
    cursor = ReconcilerCursor()
    seconds = []
    with dg.DagsterInstance.get() as instance:
        pool_connections(instance)
        for _ in range(passes + 1):
            started = time.perf_counter()
            corrections = Reconciler(instance, settings, datasets, cursor).run_once()
            seconds.append(time.perf_counter() - started)
            if corrections:
                raise SystemExit(f"the reconciler had something to do: {corrections[0]}")
    print(json.dumps(seconds[1:]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
